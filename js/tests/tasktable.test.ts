import { expect, test } from 'vitest';
import { ALL_TASKS, chosen, inStates, type Choice } from '../src/core/tasktable';
import { taskRun } from './fakes';

const at = (second: number): string => `2026-01-01T10:00:${String(second).padStart(2, '0')}.000Z`;
const TASKS = [
  taskRun('load_10', 'completed', { started_at: at(5), ended_at: at(9) }),
  taskRun('load_2', 'failed', { started_at: at(1), ended_at: at(2) }),
  taskRun('report', 'created'),
  taskRun('train', 'running', { started_at: at(3) }),
  taskRun('tune', 'skipped', { started_at: at(4), ended_at: at(4) })
];
const NOW = Date.parse(at(30));
const order = (choice: Partial<Choice>): string[] => chosen(TASKS, { ...ALL_TASKS, ...choice }, NOW).map(task => task.task);

test('without a choice the tasks stand as in the workflow, and are the same list', () => {
  expect(chosen(TASKS, ALL_TASKS, NOW)).toBe(TASKS);
  expect(order({ down: true })[0]).toBe('tune');
});

test('names sort by their numbers', () => expect(order({ by: 'task' })).toEqual(['load_2', 'load_10', 'report', 'train', 'tune']));

test('states sort by what needs an eye first', () => {
  expect(order({ by: 'state' })).toEqual(['load_2', 'train', 'report', 'tune', 'load_10']);
});

test('what has not started comes last, whichever way times are sorted', () => {
  expect(order({ by: 'start' })).toEqual(['load_2', 'train', 'tune', 'load_10', 'report']);
  expect(order({ by: 'start', down: true }).at(-1)).toBe('report');
});

test('what runs has taken until now; what was skipped took no time', () => {
  expect(order({ by: 'duration', down: true })).toEqual(['train', 'load_10', 'load_2', 'report', 'tune']);
});

test('state and text leave what has both', () => {
  expect(order({ states: new Set(['failed', 'running']) })).toEqual(['load_2', 'train']);
  expect(order({ states: new Set(['failed', 'running']), text: 'LOAD' })).toEqual(['load_2']);
  expect(order({ text: 'nothing like it' })).toEqual([]);
});

test('the filter counts what there is', () => {
  expect(inStates(TASKS)).toEqual([['failed', 1], ['running', 1], ['created', 1], ['skipped', 1], ['completed', 1]]);
});
