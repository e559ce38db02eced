import { ILabShell, ILayoutRestorer, type JupyterFrontEnd, type JupyterFrontEndPlugin } from '@jupyterlab/application';
import { ICommandPalette } from '@jupyterlab/apputils';
import { ILauncher } from '@jupyterlab/launcher';
import { IRenderMimeRegistry } from '@jupyterlab/rendermime';
import { ISettingRegistry } from '@jupyterlab/settingregistry';
import { IStateDB } from '@jupyterlab/statedb';
import { ITranslator } from '@jupyterlab/translation';
import { Board } from '../core/board';
import { Catalog } from '../core/catalog';
import { sharedFeed } from '../core/live';
import { findPage, pageSend } from '../core/page';
import { ALL, isQuery } from '../core/runlist';
import { RUN_MIME } from '../core/wire';
import { speak } from '../core/words';
import { addCommands, addEntries, Command, type Parts } from './commands';
import { addTab, Pages, tree } from './pages';
import { RunRenderer } from './renderer';
import { Settings } from './settings';
import { SIDEBAR, SidebarWidget } from './sidebar';

const PLUGIN = 'wattle-jupyter:plugin';
const RANK = -20; // before the widget of the same output: this one needs no kernel
const SIDEBAR_RANK = 240; // below the file browser and the running kernels

const settings = new Settings();

const renderer: JupyterFrontEndPlugin<void> = {
  id: PLUGIN,
  description: 'Shows runs of Wattle workflows live in their cells.',
  autoStart: true,
  requires: [IRenderMimeRegistry],
  optional: [ISettingRegistry],
  activate: (app: JupyterFrontEnd, rendermime: IRenderMimeRegistry, registry: ISettingRegistry | null) => {
    const open = (run: string): void => void app.commands.execute(Command.open, { run });
    const createRenderer = (): RunRenderer => new RunRenderer(settings, app.commands.hasCommand(Command.open) ? open : undefined);
    rendermime.addFactory({ safe: true, mimeTypes: [RUN_MIME], defaultRank: RANK, createRenderer }, RANK);
    registry
      ?.load(PLUGIN)
      .then(loaded => settings.follow(loaded))
      .catch((error: unknown) => console.warn('wattle-jupyter: settings could not be read, defaults hold.', error));
  }
};

const QUERY = 'wattle-jupyter:query';

type Services = [ISettingRegistry | null, ITranslator | null, ILabShell | null, ILayoutRestorer | null, ICommandPalette | null, ILauncher | null, IStateDB | null];

const runs: JupyterFrontEndPlugin<void> = {
  id: 'wattle-jupyter:runs',
  description: 'A sidebar with all runs of Wattle workflows, a page for each, and commands.',
  autoStart: true,
  optional: [ISettingRegistry, ITranslator, ILabShell, ILayoutRestorer, ICommandPalette, ILauncher, IStateDB],
  activate: async (app: JupyterFrontEnd, ...services: Services) => {
    const [registry, translator, labShell, restorer, palette, launcher, stateDB] = services;
    const page = findPage();
    if (page === null) return; // no server of ours can be behind such a page
    if (translator !== null) speak(translator.load('wattle_jupyter'));
    const parts = assemble(app, labShell, page);
    addCommands(parts);
    addEntries(palette, launcher);
    restore(parts, restorer);
    // the side is a setting, and the layout must know the panel before it is restored
    await registry?.load(PLUGIN).then(loaded => settings.follow(loaded)).catch(() => undefined); // the other plugin says so
    place(parts, labShell);
    settings.listen(() => parts.sidebar.count());
    if (stateDB !== null) void keepQuery(parts.board, stateDB);
  }
};

function assemble(app: JupyterFrontEnd, labShell: ILabShell | null, page: NonNullable<ReturnType<typeof findPage>>): Parts {
  const feed = sharedFeed(page);
  const catalog = new Catalog(pageSend(page));
  const board = new Board(feed, catalog, () => settings.preferences.pageSize);
  const pages = new Pages(app, labShell, page, feed, board, settings);
  const run = (command: string) => (args: { run?: string; workflow?: string }) => void app.commands.execute(command, args);
  const handlers = { open: (id: string) => run(Command.open)({ run: id }), start: (workflow: string) => run(Command.start)({ workflow }) };
  const sidebar = new SidebarWidget(board, handlers, () => settings.preferences.badge);
  return { app, feed, catalog, board, pages, sidebar, settings };
}

function restore({ pages, sidebar }: Parts, restorer: ILayoutRestorer | null): void {
  if (restorer === null) return;
  restorer.add(sidebar, SIDEBAR);
  void restorer.restore(pages.tracker, { command: Command.open, args: tab => ({ run: tab.content.run }), name: tab => tab.content.run });
}

/** What was searched for is there again after a reload. */
async function keepQuery(board: Board, stateDB: IStateDB): Promise<void> {
  const kept: unknown = await stateDB.fetch(QUERY).catch(() => undefined); // then nothing is chosen
  if (isQuery(kept) && board.current.query === ALL) board.search(kept);
  let { query } = board.current;
  board.listen(state => {
    if (state.query === query) return;
    query = state.query;
    void stateDB.save(QUERY, { states: [...query.states], text: query.text });
  });
}

/** In JupyterLab a sidebar; in Notebook a tab of the tree page, or the sidebar of its other pages. */
function place({ app, pages, sidebar }: Parts, labShell: ILabShell | null): void {
  if (labShell !== null) {
    app.shell.add(sidebar, settings.preferences.side, { rank: SIDEBAR_RANK });
    sidebar.begin();
    void app.restored.then(() => pages.openAsked());
    return;
  }
  void app.restored.then(() => {
    const home = tree(app);
    if (home === null) app.shell.add(sidebar, settings.preferences.side, { rank: SIDEBAR_RANK });
    else {
      sidebar.title.label = sidebar.title.caption;
      addTab(home, sidebar);
      pages.openAsked();
    }
    sidebar.begin();
  });
}

export default [renderer, runs];
