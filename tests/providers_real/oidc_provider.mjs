// Starts npm's oidc-provider (OpenID certified) on loopback and prints {"issuer": ...} once it listens.
//
// One JSON argument:
//   client              the broker's registration, in the words of OpenID Dynamic Client Registration
//   claims_in_id_token  true: e-mail and name are in the ID token too; false: at the userinfo endpoint only
//   accounts            {login: {email, email_verified, name}}; the login becomes the `sub`
//
// and, where a vendor's provider is to be played (each may be left out):
//   port, tls           where to listen; tls: {key, cert}, both PEM
//   issuer_path         what follows the origin in the issuer; the discovery document is found below it
//   routes, claims      the endpoints' paths, and the claims of each scope, in oidc-provider's own words
//   userinfo_claims     the only claims the userinfo endpoint gives
//   signs_out           false: there is no end-session endpoint
//   denied              {login: error_description}: who is sent back with access_denied
//   client_secrets_file the client secrets accepted at this moment, one a line
//   assertions_file     where header and claims of each client assertion accepted are written, one JSON a line
//   discovery, key_members, id_tokens: see vendor.mjs
//
// Everything else, the sign-in and consent pages too, is oidc-provider's own.
import { generateKeyPairSync } from 'node:crypto';
import { once } from 'node:events';
import { appendFileSync, readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import { errors, Provider } from 'oidc-provider';
import { soundLike } from './vendor.mjs';

const configuration = JSON.parse(process.argv[2]);
const { client, accounts, tls, userinfo_claims, denied = {}, client_secrets_file, assertions_file } = configuration;
const { issuer_path = '', claims = { openid: ['sub'], email: ['email', 'email_verified'], profile: ['name'] } } = configuration;

const pairs = [
  generateKeyPairSync('rsa', { modulusLength: 2048 }),
  generateKeyPairSync('ec', { namedCurve: 'P-256' }),
];
const keys = pairs.map(({ privateKey }) => ({ ...privateKey.export({ format: 'jwk' }), use: 'sig' }));

const server = (tls ? createTlsServer(tls) : createServer()).listen(configuration.port ?? 0, '127.0.0.1');
await once(server, 'listening');
const issuer = `${tls ? 'https' : 'http'}://127.0.0.1:${server.address().port}${issuer_path}`;

const claimsOf = (sub, use) => {
  const all = Object.entries({ sub, ...accounts[sub] });
  return Object.fromEntries(use === 'userinfo' && userinfo_claims ? all.filter(([name]) => userinfo_claims.includes(name)) : all);
};

const provider = new Provider(issuer, {
  clients: [client],
  jwks: { keys },
  claims,
  conformIdTokenClaims: !configuration.claims_in_id_token,
  enabledJWA: { idTokenSigningAlgValues: ['RS256', 'PS256', 'ES256'] },
  features: { rpInitiatedLogout: { enabled: configuration.signs_out ?? true } },
  findAccount: (_context, sub) => sub in accounts && { accountId: sub, claims: (use) => claimsOf(sub, use) },
  pkce: { required: () => true },
  ...(configuration.routes && { routes: configuration.routes }),
  async loadExistingGrant({ oidc }) {
    const { session, client: { clientId }, provider: { Grant }, result } = oidc;
    if (session.accountId in denied) throw new errors.AccessDenied(denied[session.accountId]);
    const grantId = result?.consent?.grantId ?? session.grantIdFor(clientId);
    return grantId && Grant.find(grantId);
  },
  async assertJwtClientAuthClaimsAndHeader(_context, payload, header) {
    if (assertions_file) appendFileSync(assertions_file, `${JSON.stringify({ header, payload })}\n`);
  },
});
if (client_secrets_file) {
  provider.Client.prototype.compareClientSecret = (secret) => readFileSync(client_secrets_file, 'utf8').split('\n').includes(secret);
}
provider.use(soundLike(configuration, pairs[0].privateKey));

const answer = provider.callback();
server.on('request', (request, response) => {
  const discovery = '/.well-known/openid-configuration';
  if (request.url === `${issuer_path}${discovery}`) request.url = discovery;
  answer(request, response);
});
console.log(JSON.stringify({ issuer }));
