{{- define "pgbouncer-operator.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- define "pgbouncer-operator.fullname" -}}
{{- $name := default .Chart.Name .Values.nameOverride }}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 52 | trimSuffix "-" }}
{{- else if contains $name .Release.Name }}
{{- .Release.Name | trunc 52 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name $name | trunc 52 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{- define "pgbouncer-operator.namespace" -}}
{{- default .Release.Namespace .Values.namespaceOverride }}
{{- end }}

{{- define "pgbouncer-operator.serviceAccountName" -}}
{{- if .Values.serviceAccount.create }}
{{- default (include "pgbouncer-operator.fullname" .) .Values.serviceAccount.name }}
{{- else }}
{{- default "default" .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{- /* Labels that select the operator's own pods. Pods of pools have another name. */ -}}
{{- define "pgbouncer-operator.selectorLabels" -}}
app.kubernetes.io/name: {{ include "pgbouncer-operator.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: operator
{{- end }}

{{- define "pgbouncer-operator.labels" -}}
{{- /* Each key once. The chart's own labels override the common ones, because selectors use them. */ -}}
{{- $ours := include "pgbouncer-operator.selectorLabels" . | fromYaml }}
{{- $_ := set $ours "app.kubernetes.io/part-of" "pgbouncer-operator" }}
{{- $_ := set $ours "app.kubernetes.io/version" .Chart.AppVersion }}
{{- $_ := set $ours "app.kubernetes.io/managed-by" .Release.Service }}
{{- $_ := set $ours "helm.sh/chart" (printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_") }}
{{- toYaml (merge $ours .Values.commonLabels) }}
{{- end }}

{{- /* Image reference. Takes a list: the chart's root, and the value `image` or `poolImage`. */ -}}
{{- define "pgbouncer-operator.image" -}}
{{- $root := index . 0 }}
{{- $image := index . 1 }}
{{- with coalesce $image.registry $root.Values.global.imageRegistry $root.Values.registry }}{{ trimSuffix "/" . }}/{{ end }}{{ $image.repository }}
{{- if $image.digest }}@{{ $image.digest }}{{ else }}:{{ default $root.Chart.AppVersion $image.tag }}{{ end }}
{{- end }}

{{- /* Names of pull Secrets, with commas. Takes a list: the chart's root, and the list of one image. */ -}}
{{- define "pgbouncer-operator.pullSecrets" -}}
{{- $names := list }}
{{- range concat (index . 1) (index . 0).Values.global.imagePullSecrets }}
{{- if kindIs "string" . }}{{ $names = append $names . }}{{ else }}{{ $names = append $names .name }}{{ end }}
{{- end }}
{{- join "," (uniq $names) }}
{{- end }}

{{- /* Refuses what would be ignored. Values of a parent chart may be for its other charts. */ -}}
{{- define "pgbouncer-operator.check" -}}
{{- if .Chart.IsRoot }}
{{- range $key := without (keys .Values.global | sortAlpha) "imageRegistry" "imagePullSecrets" }}
{{- fail (printf "global.%s is no value of this chart: of global it takes imageRegistry and imagePullSecrets. Remove it, or correct its name." $key) }}
{{- end }}
{{- end }}
{{- end }}

{{- /* How the operator is scraped. Takes the values of the monitor. */ -}}
{{- define "pgbouncer-operator.operatorEndpoint" -}}
port: http
path: /metrics
interval: {{ .interval }}
{{- with .scrapeTimeout }}
scrapeTimeout: {{ . }}
{{- end }}
# The series of a pool or a server have the label namespace: its own, not that of the operator.
honorLabels: true
{{- with .relabelings }}
relabelings:
  {{- toYaml . | nindent 2 }}
{{- end }}
# exported_namespace is what that label was before; for rules and dashboards that still use it.
metricRelabelings:
  - sourceLabels: [__name__, namespace]
    regex: pgbouncer_operator_(?:pool|server)_.+;(.+)
    targetLabel: exported_namespace
  {{- with .metricRelabelings }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end }}
