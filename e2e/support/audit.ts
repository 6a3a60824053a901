import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Cluster } from '../cluster/cluster.ts';

const POLICY = join(import.meta.dirname, 'audit-policy.yaml');
const FILE = 'audit.log';

/** Flags for kube-apiserver: what the controller writes is in `audit.log` of the cluster's folder. */
export const auditFlags = [
  `--audit-policy-file=${POLICY}`,
  `--audit-log-path=${FILE}`,
  '--audit-log-maxage=0',
];

/** A write that the controller asked for, and how the apiserver answered. */
export interface Write {
  verb: string;
  /** `services`, `services/status`, `configmaps` … */
  resource: string;
  namespace: string;
  name: string;
  code: number;
  /** Of the object in the answer; empty when it was refused. */
  resourceVersion: string;
  request: unknown;
  response: unknown;
}

interface AuditLine {
  verb: string;
  objectRef: { resource: string; subresource?: string; namespace?: string; name?: string };
  responseStatus?: { code?: number };
  requestObject?: unknown;
  responseObject?: { metadata?: { name?: string; resourceVersion?: string } };
}

/** All writes of the controller so far, in the order in which the apiserver answered. */
export async function writesOf(cluster: Cluster): Promise<Write[]> {
  const before = await filesIn(cluster.dir);
  const texts = await Promise.all(before.map((file) => readFile(join(cluster.dir, file), 'utf8')));
  // Renamed while we read.
  if ((await filesIn(cluster.dir)).length > before.length) return writesOf(cluster);
  // The last piece is empty, or a line that is being written.
  return texts.flatMap((text) => text.split('\n').slice(0, -1).flatMap(toWrite));
}

/** The log in order: the apiserver begins anew after 100 MB, and names what there was `audit-TIME.log`. */
async function filesIn(dir: string): Promise<string[]> {
  const files = (await readdir(dir)).filter((file) => /^audit(-.*)?\.log$/.test(file));
  return files.toSorted((a, b) => Number(a === FILE) - Number(b === FILE) || (a < b ? -1 : 1));
}

function toWrite(line: string): Write[] {
  let parsed: AuditLine;
  try {
    parsed = JSON.parse(line);
  } catch {
    // Cut when the apiserver was killed.
    return [];
  }
  const { verb, objectRef, responseStatus, requestObject, responseObject } = parsed;
  const { resource, subresource, namespace = '', name } = objectRef;
  return [
    {
      verb,
      resource: subresource === undefined ? resource : `${resource}/${subresource}`,
      namespace,
      name: name ?? responseObject?.metadata?.name ?? '',
      code: responseStatus?.code ?? 0,
      resourceVersion: responseObject?.metadata?.resourceVersion ?? '',
      request: requestObject,
      response: responseObject,
    },
  ];
}
