{{- /*
The rights that the operator uses in namespaces with pools, and no others: a test compares them with the code.
Objects are created by POST and changed by server-side apply, which is the verb patch.
*/ -}}
{{- define "pgbouncer-operator.rules" -}}
- apiGroups: [pgbouncer-operator.io]
  resources: [connectionpools, postgresservers]
  verbs: [list, watch]
- apiGroups: [pgbouncer-operator.io]
  resources: [connectionpools/status, postgresservers/status]
  verbs: [patch]
# To read the labels of a namespace whose pools refer to a PostgresServer with a selector, one namespace at a time.
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
  verbs: [get, list, watch]
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
# Also for the CA and the login of a PostgresServer. Without this rule they need a Role with get on their Secrets.
- apiGroups: [""]
  resources: [secrets]
  verbs: [create, delete, get, update]
{{- end }}
{{- end }}
