import type { JupyterFrontEnd } from '@jupyterlab/application';
import { Clipboard, Dialog, type ICommandPalette, InputDialog, Notification, showDialog } from '@jupyterlab/apputils';
import type { ILauncher } from '@jupyterlab/launcher';
import type { Board } from '../core/board';
import type { Catalog } from '../core/catalog';
import type { Feed, Verb } from '../core/feed';
import { after, PAGE } from '../core/lifetime';
import { canCancel, canRetry } from '../core/states';
import type { RunSummary } from '../core/wire';
import { trans } from '../core/words';
import { wattleIcon } from './icons';
import { type Pages, tree } from './pages';
import type { Settings } from './settings';
import type { SidebarWidget } from './sidebar';

export const Command = {
  sidebar: 'wattle:open-sidebar',
  open: 'wattle:open-run',
  cancel: 'wattle:cancel-run',
  retry: 'wattle:retry-run',
  start: 'wattle:start-workflow',
  copy: 'wattle:copy-run-id',
  refresh: 'wattle:refresh'
} as const;

export interface Parts {
  app: JupyterFrontEnd;
  feed: Feed;
  catalog: Catalog;
  board: Board;
  pages: Pages;
  sidebar: SidebarWidget;
  settings: Settings;
}

const SETTLED = 1_000; // ms

/** Whose run a command means: the one that it names, that of the menu, that of the sidebar or that of the tab. */
interface Target {
  run?: string;
  menu?: boolean;
  workflow?: string;
}

function targetOf({ app, sidebar, pages }: Parts, { run, menu }: Target): string | null {
  if (run !== undefined) return run;
  if (menu === true) return app.contextMenuHitTest(node => node.dataset['run'] !== undefined)?.dataset['run'] ?? sidebar.active;
  if (sidebar.node.contains(document.activeElement)) return sidebar.active;
  return pages.current?.run ?? null;
}

function summaryOf(parts: Parts, target: Target): RunSummary | null {
  const run = targetOf(parts, target);
  if (run === null) return null;
  return parts.board.current.runs?.find(run) ?? parts.pages.tab(run)?.content.summary ?? null;
}

export function addCommands(parts: Parts): void {
  const { app, board } = parts;
  const { commands } = app;
  const args = { type: 'object' as const, properties: { run: { type: 'string' as const }, menu: { type: 'boolean' as const } } };
  const describedBy = { args };
  const onRun = (may: (run: RunSummary) => boolean) => (target: Target) => {
    const run = summaryOf(parts, target);
    return run !== null && may(run);
  };
  commands.addCommand(Command.sidebar, {
    label: trans.__('Workflow Runs'),
    caption: trans.__('Show all runs of workflows'),
    icon: args_ => (args_['isPalette'] ? undefined : wattleIcon) as typeof wattleIcon,
    execute: () => showSidebar(parts)
  });
  commands.addCommand(Command.open, {
    label: trans.__('Open Run'),
    caption: trans.__('Show a run in a tab of its own'),
    describedBy,
    execute: target => openRun(parts, target as Target)
  });
  commands.addCommand(Command.cancel, {
    label: trans.__('Cancel Run'),
    caption: trans.__('Stop what runs and start nothing more'),
    describedBy,
    isEnabled: onRun(canCancel),
    execute: target => cancelRun(parts, target as Target)
  });
  commands.addCommand(Command.retry, {
    label: trans.__('Retry Failed Tasks'),
    caption: trans.__('Run again what failed, was cancelled or skipped'),
    describedBy,
    isEnabled: onRun(canRetry),
    execute: target => act(parts, targetOf(parts, target as Target), { verb: 'retry' })
  });
  commands.addCommand(Command.start, {
    label: trans.__('Run Workflow…'),
    caption: trans.__('Start a run of a workflow with its default params'),
    execute: target => startWorkflow(parts, (target as Target).workflow)
  });
  commands.addCommand(Command.copy, {
    label: trans.__('Copy Run Id'),
    describedBy,
    execute: target => {
      const run = targetOf(parts, target as Target);
      if (run !== null) Clipboard.copyToSystem(run);
    }
  });
  commands.addCommand(Command.refresh, {
    label: trans.__('Refresh Workflow Runs'),
    caption: trans.__('Read all again; changes show by themselves'),
    execute: () => board.refresh()
  });
  // what is enabled follows the runs; menus and palette are drawn anew each time, so not too often
  let due = false;
  board.listen(() => {
    if (due) return;
    due = true;
    const tell = (): void => {
      due = false;
      for (const id of [Command.cancel, Command.retry]) commands.notifyCommandChanged(id);
    };
    after(SETTLED, tell, PAGE);
  });
}

export function addEntries(palette: ICommandPalette | null, launcher: ILauncher | null): void {
  const category = trans.__('Wattle');
  for (const command of Object.values(Command)) if (command !== Command.copy) palette?.addItem({ command, category, args: { isPalette: true } });
  launcher?.add({ command: Command.sidebar, category: trans.__('Other'), rank: 50 });
}

function showSidebar({ app, sidebar }: Parts): void {
  const place = tree(app);
  if (place !== null && sidebar.parent !== null && place.widgets.includes(sidebar)) place.currentWidget = sidebar;
  else app.shell.activateById(sidebar.id);
}

async function openRun(parts: Parts, target: Target): Promise<void> {
  const known = targetOf(parts, target);
  if (known !== null) {
    parts.pages.open(known);
    return;
  }
  const asked = await InputDialog.getText({ title: trans.__('Open Run'), label: trans.__('Id of the run or its beginning, or “last”'), text: 'last', okLabel: trans.__('Open') });
  const text = asked.value?.trim();
  if (!asked.button.accept || !text) return;
  await orSay(async () => {
    const { id } = await parts.feed.run(text, PAGE);
    parts.pages.open(id);
  });
}

async function cancelRun(parts: Parts, target: Target): Promise<void> {
  const run = targetOf(parts, target);
  if (run === null) return;
  const name = summaryOf(parts, target)?.workflow ?? run.slice(0, 8);
  if (parts.settings.preferences.confirmCancel) {
    const answer = await showDialog({
      title: trans.__('Cancel this run of %1?', name),
      body: trans.__('All its running tasks are stopped and nothing more is started. You can retry it later.'),
      buttons: [Dialog.cancelButton({ label: trans.__('Keep') }), Dialog.warnButton({ label: trans.__('Cancel run') })]
    });
    if (!answer.button.accept) return;
  }
  await act(parts, run, { verb: 'cancel' });
}

async function startWorkflow(parts: Parts, name: string | undefined): Promise<void> {
  await orSay(async () => {
    const chosen = name ?? (await chooseWorkflow(parts));
    if (chosen !== null) parts.pages.open((await parts.catalog.start(chosen)).id);
  });
}

async function chooseWorkflow({ catalog }: Parts): Promise<string | null> {
  const items = (await catalog.workflows(PAGE)).map(one => one.name);
  if (items.length === 0) throw new Error(trans.__('No workflow is defined yet. A cell that begins with %1 and a name defines one.', '%%wattle'));
  const answer = await InputDialog.getItem({ title: trans.__('Run Workflow'), label: trans.__('Workflow'), items, okLabel: trans.__('Run') });
  return answer.button.accept ? answer.value : null;
}

async function act({ feed }: Parts, run: string | null, verb: Verb): Promise<void> {
  if (run !== null) await orSay(() => feed.act(run, verb));
}

/** What goes wrong is said where the user looks. */
async function orSay(work: () => Promise<void>): Promise<void> {
  try {
    await work();
  } catch (error) {
    Notification.error(error instanceof Error ? error.message : String(error), { autoClose: 8_000 });
  }
}
