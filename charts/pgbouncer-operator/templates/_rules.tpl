{{- /*
What the operator does where there are pools, and nothing else: a test compares this table with the code.
Objects are created by POST and written by server-side apply, which is the verb patch.
*/ -}}
{{- define "pgbouncer-operator.rules" -}}
- apiGroups: [pgbouncer-operator.io]
  resources: [connectionpools, postgresservers]
  verbs: [list, watch]
- apiGroups: [pgbouncer-operator.io]
  resources: [connectionpools/status, postgresservers/status]
  verbs: [patch]
# The labels of a namespace whose pools refer to a PostgresServer with a selector; never a list of all.
- apiGroups: [""]
  resources: [namespaces]
  verbs: [get]
{{- if .Values.rbac.finalizers }}
- apiGroups: [pgbouncer-operator.io]
  resources: [connectionpools/finalizers]
  verbs: [update]
{{- end }}
- apiGroups: [""]
  resources: [configmaps]
  verbs: [create, get, list, patch, update, watch]
- apiGroups: [""]
  resources: [services]
  verbs: [create, get, list, patch, watch]
- apiGroups: [apps]
  resources: [deployments]
  verbs: [create, get, list, patch, watch]
{{- if .Values.clientWorkloads.enabled }}
- apiGroups: [apps]
  resources: [replicasets, statefulsets]
  verbs: [list, watch]
- apiGroups: [autoscaling]
  resources: [horizontalpodautoscalers]
  verbs: [list, watch]
{{- end }}
- apiGroups: [policy]
  resources: [poddisruptionbudgets]
  verbs: [create, get, list, patch, watch]
- apiGroups: [""]
  resources: [pods]
  verbs: [list, watch]
- apiGroups: [""]
  resources: [pods/status]
  verbs: [patch]
- apiGroups: [discovery.k8s.io]
  resources: [endpointslices]
  verbs: [list, watch]
- apiGroups: [""]
  resources: [events]
  verbs: [create, patch]
{{- if .Values.connectionSecrets.enabled }}
# Also a PostgresServer's CA and login, by name; without this rule a Role with get on those Secrets does.
- apiGroups: [""]
  resources: [secrets]
  verbs: [create, delete, get, update]
{{- end }}
{{- end }}
