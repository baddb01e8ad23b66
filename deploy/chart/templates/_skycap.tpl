{{- /* The module's address. Only one that is pinned to its digest is the same on every proxy. */ -}}
{{- define "skycap.moduleURL" -}}
{{- $url := required "set `module.url` to the module's address: oci://REGISTRY/REPOSITORY@sha256:DIGEST" .Values.module.url -}}
{{- if not (regexMatch "^oci://[^@]+@sha256:[0-9a-f]{64}$" $url) -}}
{{- fail (printf "invalid `module.url` `%s`: expected oci://REGISTRY/REPOSITORY@sha256:DIGEST; `skycap plugin push` prints it" $url) -}}
{{- end -}}
{{- $url -}}
{{- end -}}

{{- /* A regular expression for the modules of the same repository. Without Istio there is no module. */ -}}
{{- define "skycap.modulePattern" -}}
{{- if not (or .Values.module.url (has "istio" .Values.meshes)) -}}
^[^/]+$
{{- else -}}
{{- $repository := regexReplaceAll "^oci://([^@]*?)(:[^/@:]*)?@.*$" (include "skycap.moduleURL" .) "${1}" -}}
^oci://{{ regexReplaceAll "[^a-zA-Z0-9/_-]" $repository "[${0}]" }}@sha256:[0-9a-f]{64}$
{{- end -}}
{{- end -}}
