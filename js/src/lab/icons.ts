import { LabIcon } from '@jupyterlab/ui-components';
import { LOOKS } from '../core/states';
import type { StateName } from '../core/wire';

/** Rods woven around stakes: a wattle. */
export const wattleIcon = new LabIcon({
  name: 'wattle-jupyter:wattle',
  svgstr: `<svg xmlns="http://www.w3.org/2000/svg" width="16" viewBox="0 0 24 24"><g fill="none" stroke-width="2" stroke-linecap="round">
    <path class="jp-icon3 jp-icon-selectable" stroke="#616161" d="M6 3.5V6.2M6 11.8V20.5M12 3.5V12.2M12 17.8V20.5M18 3.5V6.2M18 11.8V20.5"/>
    <path class="jp-icon3 jp-icon-selectable" stroke="#616161" d="M2.5 9C5 7.6 7.5 7.6 9.4 9S14 10.4 15.6 9 19.5 7.6 21.5 9M2.5 15C4.5 16.4 7 16.4 9 15S13.5 13.6 15.4 15 19 16.4 21.5 15"/>
  </g></svg>`
});

const marks = new Map<StateName, LabIcon>();

/** The shape of a state, for tabs. */
export function stateIcon(state: StateName): LabIcon {
  const known = marks.get(state);
  if (known !== undefined) return known;
  const mark = new LabIcon({
    name: `wattle-jupyter:${state}`,
    svgstr: `<svg xmlns="http://www.w3.org/2000/svg" width="16" viewBox="0 0 16 16"><g class="jp-wattle-mark jp-mod-${state}"><path d="${LOOKS[state].icon}"/></g></svg>`
  });
  marks.set(state, mark);
  return mark;
}
