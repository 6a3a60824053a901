import { expect, test } from 'vitest';
import { escapePointer, jsonPatch } from '../../src/kube/patch.ts';

test('a JSON Patch replaces the resourceVersion first: stale answers 409, where `test` would answer 422', () => {
  const remove = { op: 'remove', path: '/spec/x' } as const;
  expect(jsonPatch('42', [remove])).toEqual([
    { op: 'replace', path: '/metadata/resourceVersion', value: '42' },
    remove,
  ]);
});

test('a token of a JSON Pointer is escaped, tilde before slash (RFC 6901 §3)', () => {
  expect(escapePointer('example.com/a~b')).toBe('example.com~1a~0b');
  expect(escapePointer('~1')).toBe('~01');
});
