import { expect } from 'vitest';
import { eventually } from './eventually.ts';

/** Waits until what is created now is younger: creationTimestamp and managedFields know whole seconds. */
export async function youngerThan({ metadata }: { metadata: { creationTimestamp: string } }): Promise<void> {
  const next = Date.parse(metadata.creationTimestamp) + 1_000;
  await eventually(() => expect(Date.now()).toBeGreaterThan(next));
}
