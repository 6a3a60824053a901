import { expect, test } from 'vitest';
import { explain } from '../../src/allocation/decide.ts';
import { wordsOf } from '../../src/allocation/explanation.ts';
import { ANNOTATION } from '../../src/api/names.ts';
import { desk, service } from './fixtures.ts';

const SMALL = { ranges: [{ from: 30_100 }] };

test('an explanation says of every check what it answered, range by range', () => {
  const d = desk({ first: { namespaces: ['b'] }, second: SMALL, third: { ranges: [{ from: 30_200 }] } });
  d.serve(service(['http:80 31000'], { name: 'holder', range: 'second' }));
  const web = d.see(service(['http:80 31001'], { range: 'nowhere,first,second,third' }));
  expect(wordsOf(explain(d.snapshot(web)).answers)).toEqual([
    'isManaged passed',
    'requestIsWellFormed passed',
    'hasNodePorts passed',
    'claimsAgreeWithTheRequest passed',
    'keepsWhatItHolds passed',
    'nowhere: rangeExists objected RangeNotFound: PortRange "nowhere" does not exist',
    'first: rangeExists passed',
    'first: admitsTheService objected NotAdmitted: PortRange first does not admit namespace a',
    'second: rangeExists passed',
    'second: admitsTheService passed',
    'second: isNotPaused passed',
    'second: allowsWantedNumbers passed',
    'second: findsPorts objected RangeExhausted: second has too few free ports: 1 needed',
    'third: rangeExists passed',
    'third: admitsTheService passed',
    'third: isNotPaused passed',
    'third: allowsWantedNumbers passed',
    'third: findsPorts decided assign 30200',
  ]);
});

test('an explanation ends with the check that decides, whatever ranges there are', () => {
  const d = desk();
  const holder = d.serve(service(['http:80 31000']));
  expect(wordsOf(explain(d.snapshot(holder)).answers).at(-1)).toBe('keepsWhatItHolds decided keep 30100');
  const malformed = d.see(
    service(['http:80 31001'], { name: 'b', annotations: { [ANNOTATION.ports]: 'x' } }),
  );
  expect(wordsOf(explain(d.snapshot(malformed)).answers)).toEqual([
    expect.stringMatching(/^requestIsWellFormed decided refuse InvalidRequest: /),
  ]);
  const stranger = d.see(service(['http:80 31002'], { name: 'c', range: undefined }));
  expect(wordsOf(explain(d.snapshot(stranger)).answers)).toEqual(['isManaged decided ignore']);
});
