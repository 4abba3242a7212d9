// Starts npm's oidc-provider (OpenID certified) on loopback and prints {"issuer": ...} once it listens.
//
// One JSON argument:
//   client            the broker's registration, in the words of OpenID Dynamic Client Registration
//   claims_in_id_token  true: e-mail and name are in the ID token too; false: at the userinfo endpoint only
//   accounts          {login: {email, email_verified, name}}; the login becomes the `sub`
//
// Everything else, the sign-in and consent pages too, is oidc-provider's own.
import { generateKeyPairSync } from 'node:crypto';
import { once } from 'node:events';
import { createServer } from 'node:http';
import { Provider } from 'oidc-provider';

const { client, claims_in_id_token, accounts } = JSON.parse(process.argv[2]);

const keys = [
  generateKeyPairSync('rsa', { modulusLength: 2048 }),
  generateKeyPairSync('ec', { namedCurve: 'P-256' }),
].map(({ privateKey }) => ({ ...privateKey.export({ format: 'jwk' }), use: 'sig' }));

const server = createServer().listen(0, '127.0.0.1');
await once(server, 'listening');
const issuer = `http://127.0.0.1:${server.address().port}`;

const provider = new Provider(issuer, {
  clients: [client],
  jwks: { keys },
  claims: { openid: ['sub'], email: ['email', 'email_verified'], profile: ['name'] },
  conformIdTokenClaims: !claims_in_id_token,
  enabledJWA: { idTokenSigningAlgValues: ['RS256', 'PS256', 'ES256'] },
  findAccount: (_context, sub) => sub in accounts && { accountId: sub, claims: () => ({ sub, ...accounts[sub] }) },
  pkce: { required: () => true },
});
server.on('request', provider.callback());
console.log(JSON.stringify({ issuer }));
