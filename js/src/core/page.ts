import { downloadPath, type Answer, type Send } from './api';
import type { LogOf } from './feed';
import { linkQuery, type LogLink } from './loglink';

/** The Jupyter server that served this page. URLs end with a slash. */
export interface Page {
  base: string;
  api: string;
  ws: string;
  /** Only set if the page has a token and no cookie to show instead. */
  token: string;
}

/** What the page says about its Jupyter server; null where there is none (VS Code, Colab, static HTML). */
export function findPage(doc: Document = document): Page | null {
  const config = pageConfig(doc);
  const base = config['baseUrl'] ?? doc.body?.dataset['baseUrl'];
  if (!base) return null;
  const baseUrl = withSlash(new URL(base, doc.location.href).href);
  const wsUrl = withSlash(config['wsUrl'] ? new URL(config['wsUrl'], doc.location.href).href : baseUrl);
  return {
    base: baseUrl,
    api: baseUrl + 'wattle/api/',
    ws: wsUrl.replace(/^http/, 'ws') + 'wattle/api/events/ws',
    token: xsrf(doc) === null ? (config['token'] ?? '') : ''
  };
}

function pageConfig(doc: Document): Record<string, string> {
  const text = doc.getElementById('jupyter-config-data')?.textContent;
  if (!text) return {};
  try {
    return JSON.parse(text) as Record<string, string>;
  } catch {
    return {}; // somebody else's element: as good as none
  }
}

const withSlash = (url: string): string => (url.endsWith('/') ? url : url + '/');

export function xsrf(doc: Document = document): string | null {
  const found = /(?:^|; )_xsrf=([^;]*)/.exec(doc.cookie);
  return found?.[1] ? decodeURIComponent(found[1]) : null;
}

export function socketUrl(page: Page): string {
  return page.token ? `${page.ws}?token=${encodeURIComponent(page.token)}` : page.ws;
}

export function downloadUrl(page: Page, of: LogOf): string {
  return page.api + downloadPath(of);
}

/** The address of a page that shows this line. */
export function lineUrl(page: Page, link: LogLink, doc: Document = document): string {
  const app = doc.location.href.startsWith(`${page.base}lab`) || doc.location.href.startsWith(`${page.base}doc`) ? 'lab' : 'tree';
  return `${page.base}${app}?${linkQuery(link)}`;
}

/** Requests by `fetch`, with what Jupyter wants to see before it believes that they come from its own page. */
export function pageSend(page: Page): Send {
  return async (method, path, body, headers, signal): Promise<Answer> => {
    const cookie = xsrf();
    const response = await fetch(page.api + path, {
      method,
      credentials: 'same-origin',
      cache: 'no-store',
      signal,
      headers: {
        ...headers,
        ...(cookie === null ? {} : { 'X-XSRFToken': cookie }),
        ...(page.token ? { Authorization: `token ${page.token}` } : {}),
        ...(body === null ? {} : { 'Content-Type': 'application/json' })
      },
      ...(body === null ? {} : { body: JSON.stringify(body) })
    });
    return { status: response.status, body: await response.json().catch(() => null) };
  };
}
