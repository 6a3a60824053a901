import { onTestFinished } from 'vitest';
import { type LeaseOptions, type Tenure, winLease } from '../../src/kube/lease.ts';
import type { LeaseObject, LeaseSpec } from '../../src/kube/leaseObject.ts';
import { type Rig, rig } from './rig.ts';
import { type Answer, event, json, status, stream } from './scriptedServer.ts';

const PATH = '/apis/coordination.k8s.io/v1/namespaces/system/leases';
export const GET = `GET ${PATH}/leader`;
export const PUT = `PUT ${PATH}/leader`;
export const POST = `POST ${PATH}`;
export const WATCH = `WATCH ${PATH}`;

/** As kube-apiserver treats one Lease: resourceVersions, 409, watches. */
export interface LeaseServer extends Rig {
  lease(): LeaseObject | undefined;
  spec(): LeaseSpec;
  /** Writes as somebody else does. */
  edit(change: { spec?: Partial<LeaseSpec>; annotations?: Record<string, string> }): void;
  remove(): void;
  /** What it does by itself; a test may script something else for a while. */
  readonly answers: { get: Answer; put: Answer; post: Answer; watch: Answer };
  /** Cuts the watches that are open. */
  cutWatches(): void;
}

export const OTHER = { holderIdentity: 'other', leaseDurationSeconds: 10, leaseTransitions: 4 };

export async function leaseServer(found?: LeaseSpec): Promise<LeaseServer> {
  const base = await rig();
  const watches = new Set<Parameters<Answer>[0]>();
  let revision = 100;
  let lease: LeaseObject | undefined;
  const tell = (type: string, object: unknown): void => {
    for (const watch of watches) watch.write(event(type, object));
  };
  const store = (
    spec: LeaseSpec,
    metadata: { annotations?: Record<string, string>; labels?: Record<string, string> },
  ): LeaseObject => {
    const type = lease === undefined ? 'ADDED' : 'MODIFIED';
    revision += 1;
    lease = {
      metadata: {
        ...metadata,
        name: 'leader',
        namespace: 'system',
        uid: lease?.metadata.uid ?? `u-${revision}`,
        resourceVersion: String(revision),
        creationTimestamp: '2026-01-01T00:00:00Z',
      },
      spec,
    };
    tell(type, lease);
    return lease;
  };
  const answers = answersFrom(
    () => lease,
    (spec, metadata) => store(spec, metadata),
    (response) => {
      watches.add(response);
      response.on('close', () => watches.delete(response));
    },
  );
  base.server.on(GET, answers.get);
  base.server.on(PUT, answers.put);
  base.server.on(POST, answers.post);
  base.server.on(WATCH, answers.watch);
  if (found !== undefined) store(found, { labels: { theirs: 'yes' }, annotations: { note: 'keep' } });
  return {
    ...base,
    lease: () => lease,
    spec: () => lease?.spec ?? {},
    edit({ spec, annotations }) {
      store({ ...lease?.spec, ...spec }, { annotations: { ...lease?.metadata.annotations, ...annotations } });
    },
    remove() {
      tell('DELETED', lease);
      lease = undefined;
    },
    answers,
    cutWatches() {
      for (const watch of watches) watch.socket?.destroy();
    },
  };
}

function answersFrom(
  lease: () => LeaseObject | undefined,
  store: (spec: LeaseSpec, metadata: LeaseObject['metadata']) => LeaseObject,
  opened: (response: Parameters<Answer>[0]) => void,
): LeaseServer['answers'] {
  return {
    get: (response, request) =>
      (lease() === undefined ? status(404, { reason: 'NotFound' }) : json(lease()))(response, request),
    put(response, request) {
      const { metadata, spec = {} } = JSON.parse(request.body) as LeaseObject;
      const now = lease();
      if (now === undefined) return status(404, { reason: 'NotFound' })(response, request);
      if (metadata.resourceVersion !== now.metadata.resourceVersion || metadata.uid !== now.metadata.uid)
        return status(409, { reason: 'Conflict' })(response, request);
      json(store(spec, metadata))(response, request);
    },
    post(response, request) {
      if (lease() !== undefined) return status(409, { reason: 'AlreadyExists' })(response, request);
      const { metadata, spec = {} } = JSON.parse(request.body) as LeaseObject;
      json(store(spec, metadata), 201)(response, request);
    },
    watch: stream([], (response) => opened(response)),
  };
}

export interface Candidate {
  /** What it has won. */
  tenure(): Tenure | undefined;
  /** Until it has won; time stands still. */
  readonly won: Promise<Tenure | undefined>;
  /** `leads`, `stops`, `sees X`, `election failed` … */
  readonly observed: string[];
  /** Why it has lost the lease. */
  lost(): string | undefined;
  stop(): void;
}

/** Takes part in the election, as `identity`, with a lease of 10 s, a renew deadline of 7 s and retries each 1.5 s. */
export function candidate(
  { transport, clock }: LeaseServer,
  identity = 'me',
  options: Partial<LeaseOptions> = {},
): Candidate {
  const observed: string[] = [];
  const stop = new AbortController();
  let tenure: Tenure | undefined;
  let lost: string | undefined;
  const won = winLease(
    {
      transport,
      namespace: 'system',
      name: 'leader',
      identity,
      fieldManager: 'test',
      leaseDuration: 10_000,
      renewDeadline: 7_000,
      retryPeriod: 1_500,
      clock,
      random: () => 0.5,
      annotate: ({ term = '0' }) => ({ term: String(Number(term) + 1) }),
      observer: {
        leads: (leads) => observed.push(leads ? 'leads' : 'stops'),
        holder: (holder) => observed.push(`sees ${holder === '' ? 'nobody' : holder}`),
        failed: ({ during }) => observed.push(`${during} failed`),
      },
      ...options,
    },
    stop.signal,
  ).then((it) => {
    tenure = it;
    void it?.lost.then((why) => (lost = why));
    return it;
  });
  onTestFinished(() => stop.abort());
  return { tenure: () => tenure, won, observed, lost: () => lost, stop: () => stop.abort() };
}
