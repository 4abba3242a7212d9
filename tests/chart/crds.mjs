// Judges objects of other projects by those projects' own schemas: a JSON list on standard input, a JSON list of complaints out.
import { readFileSync } from "node:fs";

const packages = {
  "gateway.networking.k8s.io": "@kubernetes-models/gateway-api",
  "monitoring.coreos.com": "@kubernetes-models/prometheus-operator",
  "external-secrets.io": "@kubernetes-models/external-secrets",
};

const complaints = [];
for (const object of JSON.parse(readFileSync(0, "utf8"))) {
  const [group, version] = object.apiVersion.split("/");
  const { [object.kind]: Model } = await import(`${packages[group]}/${group}/${version}/${object.kind}`);
  try {
    new Model(object).validate();
  } catch (refusal) {
    complaints.push(`${object.kind}: ${refusal.message}`);
  }
}
console.log(JSON.stringify(complaints));
