import type { ISettingRegistry } from '@jupyterlab/settingregistry';
import { DEFAULTS, type Preferences } from '../ui/RunView';

/** The user's settings of this extension, kept current. */
export class Settings {
  preferences: Preferences = DEFAULTS;
  private readonly listeners = new Set<() => void>();

  follow(settings: ISettingRegistry.ISettings): void {
    const read = (): void => {
      const own = settings.composite as Partial<Preferences>;
      this.preferences = {
        logFollow: own.logFollow ?? DEFAULTS.logFollow,
        confirmCancel: own.confirmCancel ?? DEFAULTS.confirmCancel
      };
      for (const listener of [...this.listeners]) listener();
    };
    settings.changed.connect(read);
    read();
  }

  listen(on: () => void): () => void {
    this.listeners.add(on);
    return () => this.listeners.delete(on);
  }
}
