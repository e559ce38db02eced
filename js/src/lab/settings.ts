import type { ISettingRegistry } from '@jupyterlab/settingregistry';
import { DEFAULTS, type Preferences } from '../ui/RunView';

export interface LabPreferences extends Preferences {
  side: 'left' | 'right';
  badge: boolean;
  pageSize: number;
}

const LAB_DEFAULTS: LabPreferences = { ...DEFAULTS, side: 'left', badge: true, pageSize: 100 };

/** The user's settings of this extension, kept current. */
export class Settings {
  preferences: LabPreferences = LAB_DEFAULTS;
  private readonly listeners = new Set<() => void>();

  follow(settings: ISettingRegistry.ISettings): void {
    const read = (): void => {
      const own = settings.composite as Partial<LabPreferences>;
      this.preferences = {
        logFollow: own.logFollow ?? LAB_DEFAULTS.logFollow,
        confirmCancel: own.confirmCancel ?? LAB_DEFAULTS.confirmCancel,
        side: own.side ?? LAB_DEFAULTS.side,
        badge: own.badge ?? LAB_DEFAULTS.badge,
        pageSize: own.pageSize ?? LAB_DEFAULTS.pageSize
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
