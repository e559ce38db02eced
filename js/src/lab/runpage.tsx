import { Widget } from '@lumino/widgets';
import { render } from 'preact';
import type { Feed } from '../core/feed';
import { plainReason } from '../core/format';
import { Presence, watchPage } from '../core/lifetime';
import type { LogLink } from '../core/loglink';
import type { RunSummary } from '../core/wire';
import { stateWord } from '../core/states';
import { RunPage, type PagePlace } from '../ui/RunPage';
import { stateIcon, wattleIcon } from './icons';
import type { Settings } from './settings';

const GRACE = 60_000; // ms: a log that was scrolled stays so for who comes back soon

/** The page of a run, in a tab. One that nobody has seen for a minute is not drawn and hears nothing. */
export class RunPageWidget extends Widget {
  summary: RunSummary | null = null;
  private place: PagePlace = { task: null, share: 0.5 };
  private shown = false;
  private readonly presence: Presence;
  private readonly life = new AbortController();

  constructor(
    readonly run: string,
    private readonly feed: Feed,
    private readonly settings: Settings
  ) {
    super();
    this.addClass('jp-wattle-page-host');
    this.node.tabIndex = -1;
    this.title.icon = wattleIcon;
    this.title.label = run.slice(0, 8);
    this.title.closable = true;
    this.presence = new Presence(() => this.appear(true), () => this.appear(false), GRACE);
    const stopListening = settings.listen(() => this.draw());
    this.life.signal.addEventListener('abort', stopListening, { once: true });
    watchPage(this.look, this.life.signal);
  }

  /** What is known of the run, from whoever knows. */
  know(summary: RunSummary): void {
    this.summary = summary;
    this.title.label = summary.workflow;
    this.title.icon = stateIcon(summary.state);
    this.title.caption = [`${summary.workflow}: ${stateWord(summary.state)}`, plainReason(summary.reason), summary.id.slice(0, 8)].filter(Boolean).join('\n');
  }

  /** Go to a line of a log. */
  lead({ task, attempt, byte }: LogLink): void {
    this.place = { ...this.place, task, opened: { byKey: false, start: { at: 'byte', byte }, attempt } };
    this.draw();
  }

  override dispose(): void {
    if (this.isDisposed) return;
    this.life.abort();
    this.presence.end();
    super.dispose();
  }

  protected override onAfterAttach(): void {
    this.look();
  }

  protected override onAfterShow(): void {
    this.look();
  }

  protected override onAfterHide(): void {
    this.look();
  }

  protected override onBeforeDetach(): void {
    this.presence.end();
  }

  protected override onActivateRequest(): void {
    this.node.focus();
  }

  private readonly look = (): void => this.presence.set(this.isVisible && !document.hidden);

  private appear(shown: boolean): void {
    this.shown = shown;
    this.draw();
  }

  private draw(): void {
    if (!this.shown) {
      render(null, this.node);
      return;
    }
    const onPlace = (place: PagePlace): void => {
      this.place = place;
      this.draw();
    };
    const { feed, run, place, settings } = this;
    render(<RunPage feed={feed} run={run} preferences={settings.preferences} place={place} onPlace={onPlace} onState={summary => this.know(summary)} />, this.node);
  }
}
