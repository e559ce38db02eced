/** Gettext as JupyterLab's translation bundles offer it; `%1`, `%2` stand for the arguments. */
export interface Words {
  __(text: string, ...args: (string | number)[]): string;
  /** `%1` is `n`, further arguments follow. */
  _n(one: string, many: string, n: number, ...args: (string | number)[]): string;
}

const filled = (text: string, args: (string | number)[]): string => text.replace(/%(\d)/g, (_, i: string) => String(args[Number(i) - 1] ?? ''));

const english: Words = {
  __: (text, ...args) => filled(text, args),
  _n: (one, many, n, ...args) => filled(n === 1 ? one : many, [n, ...args])
};

let chosen = english;

/** All words of the views go through this; English until the page brings a translation. */
export const trans: Words = {
  __: (text, ...args) => chosen.__(text, ...args),
  _n: (one, many, n, ...args) => chosen._n(one, many, n, ...args)
};

export function speak(words: Words): void {
  chosen = words;
}
