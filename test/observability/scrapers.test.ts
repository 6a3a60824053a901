import { expect, test } from 'vitest';
import { KubeError } from '../../src/kube/errors.ts';
import type { Review } from '../../src/kube/reviews.ts';
import { createAdmission } from '../../src/observability/scrapers.ts';
import { manualClock } from '../support/manualClock.ts';

const SECOND = 1_000;

/** A door before which tokens get the review that the apiserver has for them; 200: let in. */
function door(reviews: Record<string, Review | Error> = {}) {
  const clock = manualClock();
  const asked: string[] = [];
  const said: string[] = [];
  const review = async (token: string): Promise<Review> => {
    asked.push(token);
    const answer = reviews[token] ?? 'unknown';
    if (answer instanceof Error) throw answer;
    return answer;
  };
  const admit = createAdmission({
    review,
    clock,
    log: { error: (...line: unknown[]) => void said.push(JSON.stringify(line)) },
  });
  const knock = async (header: string | undefined): Promise<number> => (await admit(header))?.status ?? 200;
  return { clock, asked, said, admit, knock, reviews, come: (token: string) => knock(`Bearer ${token}`) };
}

const unavailable = (message = 'no answer'): KubeError =>
  new KubeError({ code: 'Network', request: 'POST /apis', message });

test.each([undefined, '', 'Bearer', 'Bearer ', 'Basic dXNlcjpwYXNz', 'a-token', 'Bearer two words'])(
  'without a bearer token (%s): 401, and the apiserver is not asked',
  async (header) => {
    const { knock, asked, admit } = door();
    expect(await knock(header)).toBe(401);
    expect((await admit(header))?.headers).toEqual({ 'www-authenticate': 'Bearer' });
    expect(asked).toEqual([]);
  },
);

test('whom the apiserver does not know: 401; who may not: 403; who may: let in', async () => {
  const { come } = door({ somebody: 'denied', prometheus: 'allowed' });
  expect(await come('nonsense')).toBe(401);
  expect(await come('somebody')).toBe(403);
  expect(await come('prometheus')).toBe(200);
});

test('a yes lasts a minute, a no 10 seconds; then it is asked again', async () => {
  const { come, clock, asked, reviews } = door({ somebody: 'denied', prometheus: 'allowed' });
  for (const token of ['somebody', 'prometheus', 'nonsense']) await come(token);
  reviews['somebody'] = reviews['nonsense'] = 'allowed';
  reviews['prometheus'] = 'denied';
  clock.advance(10 * SECOND - 1);
  expect([await come('somebody'), await come('prometheus'), await come('nonsense')]).toEqual([403, 200, 401]);
  expect(asked).toHaveLength(3);
  clock.advance(1);
  expect([await come('somebody'), await come('prometheus'), await come('nonsense')]).toEqual([200, 200, 200]);
  clock.advance(50 * SECOND - 1);
  expect(await come('prometheus')).toBe(200);
  clock.advance(1);
  expect(await come('prometheus')).toBe(403);
  expect(asked).toHaveLength(6);
});

test('scrapes that come together are one question', async () => {
  const { come, asked } = door({ prometheus: 'allowed' });
  expect(await Promise.all(Array.from({ length: 50 }, () => come('prometheus')))).toEqual(
    Array.from({ length: 50 }, () => 200),
  );
  expect(asked).toEqual(['prometheus']);
});

test('an apiserver that cannot be asked lets nobody in, also not who was let in before', async () => {
  const { come, clock, reviews } = door({ prometheus: 'allowed' });
  await come('prometheus');
  reviews['prometheus'] = unavailable();
  clock.advance(60 * SECOND);
  expect(await come('prometheus')).toBe(503);
  reviews['prometheus'] = 'allowed';
  expect(await come('prometheus')).toBe(200);
});

test('a controller that may not ask says what it lacks: 500', async () => {
  const { admit } = door({
    prometheus: new KubeError({ code: 'Forbidden', request: 'POST /apis', status: 403 }),
  });
  const answer = await admit('Bearer prometheus');
  expect(answer).toMatchObject({ status: 500, body: expect.stringContaining('config/metrics-secure') });
});

test('the log says once a minute that it cannot be asked, and never a token', async () => {
  const { come, clock, said } = door({ 'a-secret': unavailable('you sent {"token":"a-secret"}') });
  for (let i = 0; i < 10; i++) await come('a-secret');
  expect(said).toHaveLength(1);
  expect(said[0]).toContain('you sent');
  expect(said[0]).not.toContain('a-secret');
  clock.advance(60 * SECOND);
  await come('a-secret');
  expect(said).toHaveLength(2);
});

test('a flood of made-up tokens asks the apiserver little, and who may scrape still does', async () => {
  const { come, clock, asked } = door({ prometheus: 'allowed' });
  await come('prometheus');
  for (let minute = 0; minute < 5; minute++) {
    for (let i = 0; i < 2_000; i++) expect([401, 503]).toContain(await come(`made-up-${minute}-${i}`));
    clock.advance(60 * SECOND);
    expect(await come('prometheus')).toBe(200);
  }
  // 20 questions at once each minute; of the first 20 one was about who may.
  expect(asked.filter((token) => token !== 'prometheus')).toHaveLength(5 * 20 - 1);
  expect(await come('another')).toBe(401);
});
