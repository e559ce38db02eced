const GRACE = 10_000; // ms: who only looks something up elsewhere finds all as it was

/** Calls `come` while somebody can see it, `go` some seconds after nobody can. */
export class Presence {
  private there = false;
  private timer: ReturnType<typeof setTimeout> | undefined;

  constructor(
    private readonly come: () => void,
    private readonly go: () => void,
    private readonly grace = GRACE
  ) {}

  set(there: boolean): void {
    clearTimeout(this.timer);
    if (there && !this.there) this.come();
    else if (!there && this.there) {
      this.timer = setTimeout(() => this.end(), this.grace);
      return;
    }
    this.there = there;
  }

  /** At once. */
  end(): void {
    clearTimeout(this.timer);
    if (!this.there) return;
    this.there = false;
    this.go();
  }
}
