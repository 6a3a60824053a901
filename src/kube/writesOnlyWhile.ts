import { KubeError, reasons } from './errors.ts';
import { nameOf } from './exchange.ts';
import type { Transport } from './request.ts';

/** The same transport, but a write is only sent while `mayWrite` says so; else it fails as if nobody had been there. */
export function writesOnlyWhile(transport: Transport, mayWrite: () => boolean): Transport {
  return {
    ...transport,
    request(request) {
      if (request.method === 'GET' || mayWrite()) return transport.request(request);
      const message = 'the apiserver was away, and what it has now is not read yet';
      const details = {
        code: 'Network',
        request: nameOf(request),
        reason: reasons.notSent,
        message,
      } as const;
      return Promise.reject(new KubeError(details));
    },
  };
}
