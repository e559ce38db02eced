/**
 * The feed through the kernel, for pages that have no Jupyter server of ours (VS Code, Colab).
 *
 * What the widget sends (custom messages of its model), and what the kernel's side does with it:
 *
 *     {type: 'open', conn}                        open events/ws at the owner; `conn` names this connection
 *     {type: 'wire', conn, text}                  send `text` (a client message of the WebSocket, as JSON text) on it
 *     {type: 'close', conn}                       close it
 *     {type: 'http', id, method, path, body, headers}   send the request; `path` is relative to `wattle/api/`;
 *                                                 `body` is a JSON value or null; of the headers only
 *                                                 `Idempotency-Key` counts
 *
 * What the kernel answers:
 *
 *     {type: 'wire', conn, text}                  a message of the server, as its JSON text
 *     {type: 'wire', conn} with one buffer        a binary frame of the server, unchanged
 *     {type: 'closed', conn, reason}              the connection ended or could not be opened
 *     {type: 'http', id, status, body}            the answer; `body` is its JSON document or null;
 *                                                 status 0: no answer, `body` is the reason as a string
 *
 * The kernel relays to the owner of the store and adds nothing. Every page that shows the widget hears every answer,
 * hence `conn` and `id` are random and what is not one's own is passed over.
 */

import { Api, ApiError, randomId, type Answer, type Send } from './api';
import type { Feed } from './feed';
import { after } from './lifetime';
import { feedOver } from './live';
import { Socket, type Open } from './socket';

/** What is used of anywidget's model. */
export interface CommModel {
  send(content: unknown): void;
  on(event: 'msg:custom', callback: (content: unknown, buffers: DataView[]) => void): void;
  off(event: 'msg:custom', callback: (content: unknown, buffers: DataView[]) => void): void;
}

interface Incoming {
  type?: unknown;
  conn?: unknown;
  id?: unknown;
  text?: unknown;
  status?: unknown;
  body?: unknown;
}

const ANSWER_WITHIN = 60_000; // ms; a busy kernel may answer late

/** Until the signal. */
export function commFeed(model: CommModel, life: AbortSignal): Feed {
  return feedOver(new Socket(commOpen(model)), new Api(commSend(model)), () => null, life);
}

function commOpen(model: CommModel): Open {
  return on => {
    const conn = randomId();
    const hear = (content: unknown, buffers: DataView[]): void => {
      const message = content as Incoming;
      if (message.conn !== conn) return;
      if (message.type === 'closed') end();
      else if (typeof message.text === 'string') on.text(message.text);
      else if (buffers[0] !== undefined) on.binary(copied(buffers[0]));
    };
    const tell = (message: object): void => {
      try {
        model.send(message);
      } catch {
        queueMicrotask(end); // the kernel is gone, and the comm with it
      }
    };
    const end = (): void => {
      model.off('msg:custom', hear);
      on.closed();
    };
    model.on('msg:custom', hear);
    tell({ type: 'open', conn });
    return {
      send: text => tell({ type: 'wire', conn, text }),
      close: () => {
        tell({ type: 'close', conn });
        end();
      }
    };
  };
}

function copied(view: DataView): ArrayBuffer {
  return new Uint8Array(view.buffer, view.byteOffset, view.byteLength).slice().buffer;
}

function commSend(model: CommModel): Send {
  return (method, path, body, headers, signal) =>
    new Promise<Answer>((resolve, reject) => {
      const id = randomId();
      const life = new AbortController();
      const done = (finish: () => void): void => {
        life.abort();
        finish();
      };
      const fail = (reason: string): void => done(() => reject(new ApiError(0, 'NoAnswer', reason)));
      const hear = (content: unknown): void => {
        const message = content as Incoming;
        if (message.type !== 'http' || message.id !== id) return;
        if (message.status === 0) fail(String(message.body));
        else done(() => resolve({ status: Number(message.status), body: message.body ?? null }));
      };
      if (signal?.aborted) return fail(UNWANTED);
      signal?.addEventListener('abort', () => fail(UNWANTED), { signal: life.signal });
      after(ANSWER_WITHIN, () => fail('The kernel did not answer: is it busy or gone?'), life.signal);
      model.on('msg:custom', hear);
      life.signal.addEventListener('abort', () => model.off('msg:custom', hear), { once: true });
      try {
        model.send({ type: 'http', id, method, path, body, headers });
      } catch {
        fail('The kernel is gone.');
      }
    });
}

const UNWANTED = 'no longer wanted';
