import { URLExt } from '@jupyterlab/coreutils';
import type { ServerConnection } from '@jupyterlab/services';

import type { SendFile } from './api';

/** Return a function that uploads files by XMLHttpRequest, since fetch reports no progress. */
export function fileSender(settings: ServerConnection.ISettings): SendFile {
  return (path, file, signal, onSent) =>
    new Promise((resolve, reject) => {
      signal.throwIfAborted();
      const request = new XMLHttpRequest();
      request.open('POST', URLExt.join(settings.baseUrl, path));
      request.withCredentials = settings.init.credentials === 'include';
      request.setRequestHeader('Content-Type', 'application/octet-stream');
      for (const [name, value] of credentials(settings)) {
        request.setRequestHeader(name, value);
      }
      request.upload.onprogress = event => onSent(event.loaded);
      request.onload = () =>
        resolve(
          new Response(request.responseText || null, {
            status: request.status,
            statusText: request.statusText
          })
        );
      request.onerror = () => reject(new TypeError('The connection was lost.'));
      request.onabort = () => reject(signal.reason);
      signal.addEventListener('abort', () => request.abort());
      request.send(file);
    });
}

/** Return the headers by which Jupyter recognizes its own pages. */
function credentials(settings: ServerConnection.ISettings): [string, string][] {
  const cookies = document.cookie.split(';').map(one => one.trim());
  // Of several cookies, the server reads the last one.
  const xsrf = cookies.filter(one => one.startsWith('_xsrf=')).pop();
  return [
    ...(settings.token ? [['Authorization', `token ${settings.token}`] as [string, string]] : []),
    ...(xsrf ? [['X-XSRFToken', xsrf.slice('_xsrf='.length)] as [string, string]] : [])
  ];
}
