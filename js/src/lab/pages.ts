import type { ILabShell, JupyterFrontEnd } from '@jupyterlab/application';
import { MainAreaWidget, WidgetTracker } from '@jupyterlab/apputils';
import type { TabPanel, Widget } from '@lumino/widgets';
import type { Board } from '../core/board';
import type { Feed } from '../core/feed';
import { readLink } from '../core/loglink';
import type { Page } from '../core/page';
import { RunPageWidget } from './runpage';
import type { Settings } from './settings';

export type RunTab = MainAreaWidget<RunPageWidget>;

const ASKED = 'wattle-run'; // query argument of a page that opens a run

/** The tabs that show runs, wherever the front end has room for them. */
export class Pages {
  readonly tracker = new WidgetTracker<RunTab>({ namespace: 'wattle-run' });

  constructor(
    private readonly app: JupyterFrontEnd,
    private readonly labShell: ILabShell | null,
    private readonly page: Page,
    private readonly feed: Feed,
    private readonly board: Board,
    private readonly settings: Settings
  ) {
    board.onRun(run => this.tab(run.id)?.content.know(run));
  }

  /** The tab of a run: the one there is, or a new one. Null if it went to a page of its own. */
  open(run: string): RunTab | null {
    const { app, labShell } = this;
    const known = this.tab(run);
    const place = labShell === null ? tree(app) : null;
    if (known === undefined && labShell === null && place === null) {
      window.open(`${this.page.base}tree?${ASKED}=${encodeURIComponent(run)}`, `wattle-run-${run}`);
      return null;
    }
    const tab = known ?? this.make(run);
    if (!tab.isAttached && place !== null) addTab(place, tab);
    else if (!tab.isAttached) app.shell.add(tab, 'main');
    if (place !== null) place.currentWidget = tab;
    else app.shell.activateById(tab.id);
    return tab;
  }

  /** The run that the page was opened for, perhaps with a line of a log. */
  openAsked(): void {
    const run = new URLSearchParams(window.location.search).get(ASKED);
    if (run === null || !/^[0-9a-f]{32}$/.test(run)) return;
    const link = readLink(window.location.search);
    const tab = this.open(run);
    if (link !== null) tab?.content.lead(link);
  }

  tab(run: string): RunTab | undefined {
    return this.tracker.find(tab => tab.content.run === run);
  }

  /** The run whose tab has the focus. */
  get current(): RunPageWidget | null {
    const { currentWidget } = this.app.shell;
    return currentWidget !== null && this.tracker.has(currentWidget) ? (currentWidget as RunTab).content : null;
  }

  private make(run: string): RunTab {
    const content = new RunPageWidget(run, this.feed, this.settings);
    const tab = new MainAreaWidget({ content });
    tab.id = `wattle-run-${run}`;
    tab.title.closable = true;
    tab.toolbar.hide();
    const known = this.board.current.runs?.find(run);
    if (known !== undefined) content.know(known);
    void this.tracker.add(tab);
    return tab;
  }
}

/** The tabs of Notebook's tree page; null elsewhere. */
export function tree(app: JupyterFrontEnd): TabPanel | null {
  for (const widget of app.shell.widgets('main')) if ('tabBar' in widget && 'addWidget' in widget) return widget as TabPanel;
  return null;
}

/** Its tab bar does not follow what is added. */
export function addTab(place: TabPanel, widget: Widget): void {
  place.addWidget(widget);
  place.tabBar.addTab(widget.title);
}
