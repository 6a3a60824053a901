import type { JsonObject } from './patches.ts';

/** A status that is not a success, as a `metav1.Status`. */
export class Refusal extends Error {
  readonly code: number;
  readonly reason: string;
  readonly causes: readonly JsonObject[];

  constructor(code: number, reason: string, message: string, causes: readonly JsonObject[] = []) {
    super(message);
    this.code = code;
    this.reason = reason;
    this.causes = causes;
  }

  toJSON(): JsonObject {
    const { code, reason, message, causes } = this;
    return {
      kind: 'Status',
      apiVersion: 'v1',
      status: 'Failure',
      message,
      reason,
      code,
      details: { causes: [...causes] },
    };
  }
}
