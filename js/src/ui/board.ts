import { useEffect, useState } from 'preact/hooks';
import type { Board, BoardState } from '../core/board';
import { Frame } from './hooks';

/** What the board knows, handed on once per frame. */
export function useBoard(board: Board): BoardState {
  const [state, setState] = useState(board.current);
  useEffect(() => {
    const frame = new Frame(() => setState(board.current));
    const stop = board.listen(() => frame.ask());
    setState(board.current);
    return () => {
      stop();
      frame.stop();
    };
  }, [board]);
  return state;
}
