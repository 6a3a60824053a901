/** The names that users, manifests and other tools rely on. They are contracts: changing one breaks somebody. */
export const NAME = 'nodeport-manager';
export const PREFIX = 'nodeport-manager.io/';

/** Field manager of every write; Kubernetes records it in managedFields. */
export const FIELD_MANAGER = 'nodeport-manager';

/** The condition on Services: `kubectl wait --for=condition=nodeport-manager.io/Allocated svc/web`. */
export const CONDITION_TYPE = `${PREFIX}Allocated`;

export const ANNOTATION = {
  range: `${PREFIX}range`,
  ports: `${PREFIX}ports`,
  contiguous: `${PREFIX}contiguous`,
  expose: `${PREFIX}expose`,
} as const;

/** The allocation table: ConfigMaps of one block each, found by this label. */
export const TABLE = {
  label: `${PREFIX}table`,
  prefix: 'nodeport-table-',
  versionAnnotation: `${PREFIX}table-version`,
  epochAnnotation: `${PREFIX}epoch`,
  version: 1,
} as const;
