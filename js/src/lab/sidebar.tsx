import { Widget } from '@lumino/widgets';
import { render } from 'preact';
import type { Board } from '../core/board';
import { Presence, watchPage } from '../core/lifetime';
import { trans } from '../core/words';
import { Sidebar } from '../ui/Sidebar';
import { wattleIcon } from './icons';

export const SIDEBAR = 'wattle-sidebar';

const BADGE = 'wattle-running';

export interface SidebarHandlers {
  open: (run: string) => void;
  start: (workflow: string) => void;
}

/** The list of runs as a panel of JupyterLab. Out of sight it keeps nothing but the number on its tab current. */
export class SidebarWidget extends Widget {
  /** Id of the run that menus and keys act on. */
  active: string | null = null;
  private readonly life = new AbortController();
  private readonly presence: Presence;

  constructor(
    private readonly board: Board,
    private readonly handlers: SidebarHandlers,
    private readonly showsCount: () => boolean
  ) {
    super();
    this.id = SIDEBAR;
    this.addClass('jp-wattle-panel-host');
    this.node.tabIndex = -1;
    this.node.setAttribute('role', 'region');
    this.node.setAttribute('aria-label', trans.__('Wattle'));
    this.title.icon = wattleIcon;
    this.title.className = 'jp-wattle-tab';
    const stopCounting = board.listen(() => this.count());
    this.life.signal.addEventListener('abort', stopCounting, { once: true });
    this.presence = new Presence(() => board.follow(), () => board.rest());
    this.count();
  }

  /** Begin to follow the server. */
  begin(): void {
    watchPage(seen => this.presence.set(seen), this.life.signal);
  }

  /** The number of running runs on the tab. */
  count(): void {
    const { running } = this.board.current;
    const badge = running === 0 || !this.showsCount() ? '' : running > 99 ? '99+' : String(running);
    if ((this.title.dataset[BADGE] ?? '') !== badge) {
      const { [BADGE]: _, ...others } = this.title.dataset; // JupyterLab keeps the id of the panel there
      this.title.dataset = badge === '' ? others : { ...others, [BADGE]: badge };
    }
    const caption = running === 0 ? trans.__('Wattle') : trans._n('Wattle: %1 run is running', 'Wattle: %1 runs are running', running);
    if (this.title.caption !== caption) this.title.caption = caption;
  }

  override dispose(): void {
    if (this.isDisposed) return;
    this.life.abort();
    this.presence.end();
    render(null, this.node);
    super.dispose();
  }

  protected override onAfterAttach(): void {
    this.draw();
  }

  protected override onAfterShow(): void {
    this.draw();
  }

  protected override onAfterHide(): void {
    this.draw();
  }

  protected override onBeforeDetach(): void {
    this.board.look(false);
    render(null, this.node);
  }

  /** The keys go to the list, as soon as there is one. */
  protected override onActivateRequest(): void {
    this.node.focus();
    const stop = this.board.listen(() => requestAnimationFrame(() => requestAnimationFrame(focus)));
    const focus = (): void => {
      const list = this.node.querySelector<HTMLElement>('.jp-wattle-runs');
      if (document.activeElement !== this.node) stop(); // gone elsewhere meanwhile
      else if (list !== null) list.focus();
    };
    focus();
  }

  private draw(): void {
    const { isVisible, board, active } = this;
    board.look(isVisible);
    const choose = (run: string): void => {
      this.active = run;
      this.draw();
    };
    render(isVisible ? <Sidebar board={board} active={active} choose={choose} {...this.handlers} /> : null, this.node);
  }
}
