import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import ts from 'typescript';
import { describe, expect, test } from 'vitest';

const SRC = join(__dirname, '..', 'src');
const css = readdirSync(join(SRC, 'ui')).filter(name => name.endsWith('.css')).map(name => readFileSync(join(SRC, 'ui', name), 'utf8').replace(/\/\*[\s\S]*?\*\//g, '')).join('\n');
const sources = readdirSync(SRC, { recursive: true, encoding: 'utf8' }).filter(name => /\.tsx?$/.test(name) && !name.endsWith('.d.ts'));

/** `property: value` of every rule, with the selector. */
function declarations(text: string): { selector: string; property: string; value: string }[] {
  return [...text.matchAll(/([^{}]+)\{([^{}]*)\}/g)].flatMap(([, selector = '', body = '']) =>
    body.split(';').map(one => one.split(/:(.*)/s)).filter(parts => parts.length > 1).map(([property = '', value = '']) => ({ selector: selector.trim(), property: property.trim(), value: value.trim() })));
}
const all = declarations(css);

describe('colours', () => {
  test('have names: no rule knows one by its digits', () => {
    const bare = all.filter(({ property, value }) => !property.startsWith('--') && /#[0-9a-f]{3,8}\b|\brgba?\(|\bhsla?\(|\b(white|black|red|gr[ae]y|blue|green|orange)\b/i.test(value.replace(/var\([^()]*\)/g, '')));
    expect(bare).toEqual([]);
  });

  test('of JupyterLab come with what they would be without it', () => {
    const alone = all.flatMap(({ value }) => [...value.matchAll(/var\((--jp-(?!wattle)[\w-]+)\)/g)].map(match => match[1]));
    expect(alone).toEqual([]);
  });

  test('of ours that are used are there', () => {
    const known = new Set(all.map(({ property }) => property).filter(name => name.startsWith('--')));
    const used = [...css.matchAll(/var\((--(?:jp-wattle-[\w-]+|c))/g)].map(match => match[1] ?? '');
    expect(used.filter(name => !known.has(name))).toEqual([]);
  });
});

type Rgb = [number, number, number];
const rgb = (hex: string): Rgb => [1, 3, 5].map(i => parseInt(hex.slice(i, i + 2), 16)) as Rgb;
const mix = (front: Rgb, back: Rgb, share: number): Rgb => front.map((v, i) => v * share + back[i]! * (1 - share)) as Rgb;

function luminance(colour: Rgb): number {
  const [r, g, b] = colour.map(v => v / 255).map(v => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)) as Rgb;
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
}
function contrast(a: Rgb, b: Rgb): number {
  const [high = 0, low = 0] = [luminance(a), luminance(b)].sort((x, y) => y - x);
  return (high + 0.05) / (low + 0.05);
}

describe('contrast', () => {
  // the paper of JupyterLab's own themes: layout colours 0 to 2
  const themes = [
    { name: 'light', at: ':root', papers: ['#ffffff', '#f5f5f5'], least: 4.5 },
    { name: 'dark', at: "[data-jp-theme-light='false']", papers: ['#111111', '#212121'], least: 4.5 },
    { name: 'high contrast', at: 'High Contrast', papers: ['#000000', '#1a1a1a'], least: 7 }
  ];
  const inks = (at: string, kind: string): [string, string][] =>
    all.filter(({ selector, property, value }) => (at === 'High Contrast' ? selector.includes(at) : selector.startsWith(at)) && property.startsWith(`--jp-wattle-${kind}-`) && value.startsWith('#')).map(({ property, value }) => [property, value]);

  test.each(themes)('every state can be read as text in the $name theme, also on its own tint', ({ at, papers, least }) => {
    const states = inks(at, 'c');
    expect(states).toHaveLength(8);
    for (const [name, ink] of states) {
      for (const paper of papers) {
        expect([name, paper, contrast(rgb(ink), rgb(paper)) >= least]).toEqual([name, paper, true]);
        expect([name, 'tint', contrast(rgb(ink), mix(rgb(ink), rgb(paper), 0.07)) >= least * 0.9]).toEqual([name, 'tint', true]);
      }
    }
  });

  test.each(themes.slice(0, 2))('every colour of a log can be read in the $name theme', ({ at, papers }) => {
    const colours = inks(at, 'ansi');
    expect(colours).toHaveLength(16);
    for (const [name, ink] of colours) expect([name, contrast(rgb(ink), rgb(papers[0]!)) >= 4]).toEqual([name, true]);
  });
});

describe('words', () => {
  const parsed = sources.map(name => ts.createSourceFile(name, readFileSync(join(SRC, name), 'utf8'), ts.ScriptTarget.Latest, true, ts.ScriptKind.TSX));
  const visit = (node: ts.Node, on: (node: ts.Node) => void): void => (on(node), ts.forEachChild(node, child => visit(child, on)));
  const where = (node: ts.Node): string => {
    const file = node.getSourceFile();
    return `${file.fileName}:${file.getLineAndCharacterOfPosition(node.getStart()).line + 1} ${node.getText().trim().slice(0, 60)}`;
  };
  const inText = /^(?!Aa$).*\p{L}{2}/su; // “Aa” is the sign for upper and lower case
  const SAID = /^(title|aria-label|aria-description|aria-roledescription|alt|placeholder|label|hint|text|question|what|caption)$/;
  const literal = (node: ts.Node | undefined): boolean =>
    node !== undefined && ((ts.isStringLiteralLike(node) && inText.test(node.text)) || (ts.isTemplateExpression(node) && [node.head, ...node.templateSpans.map(span => span.literal)].some(part => inText.test(part.text))) || (ts.isConditionalExpression(node) && (literal(node.whenTrue) || literal(node.whenFalse))) || (ts.isJsxExpression(node) && literal(node.expression)));

  test('that people read all go through the translator', () => {
    const bare: string[] = [];
    for (const file of parsed) {
      visit(file, node => {
        if (ts.isJsxText(node) && inText.test(node.text)) bare.push(where(node));
        if (ts.isJsxExpression(node) && ts.isJsxElement(node.parent) && literal(node.expression)) bare.push(where(node));
        if (ts.isJsxAttribute(node) && SAID.test(node.name.getText()) && literal(node.initializer)) bare.push(where(node));
        if (ts.isPropertyAssignment(node) && /^(label|caption|title|hint|okLabel|placeholder|question)$/.test(node.name.getText()) && literal(node.initializer)) bare.push(where(node));
      });
    }
    expect(bare).toEqual([]);
  });

  test('reach the translator as they stand in the source, or nobody could collect them', () => {
    const hidden: string[] = [];
    for (const file of parsed) {
      if (file.fileName.endsWith('words.ts')) continue;
      visit(file, node => {
        if (!ts.isCallExpression(node) || !ts.isPropertyAccessExpression(node.expression) || node.expression.expression.getText() !== 'trans') return;
        const texts = node.expression.name.text === '_n' ? node.arguments.slice(0, 2) : node.arguments.slice(0, 1);
        if (!texts.every(ts.isStringLiteral)) hidden.push(where(node));
      });
    }
    expect(hidden).toEqual([]);
  });

  test('are found where they are not: the check has teeth', () => {
    const sample = ts.createSourceFile('x.tsx', 'const a = <p title="Hello">World {`of ${1} words`}</p>;', ts.ScriptTarget.Latest, true, ts.ScriptKind.TSX);
    let bare = 0;
    visit(sample, node => {
      if (ts.isJsxText(node) && inText.test(node.text)) bare += 1;
      if (ts.isJsxExpression(node) && literal(node.expression)) bare += 1;
      if (ts.isJsxAttribute(node) && literal(node.initializer)) bare += 1;
    });
    expect(bare).toBe(3);
  });
});
