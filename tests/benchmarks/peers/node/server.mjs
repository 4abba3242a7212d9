// Signs agents in with npm's openid-client on plain node:http, one process.
//
// One argument: the path of a JSON object with issuer, client_id, client_secret, shared_secret, endpoint,
// session_secret and port.
import { createHmac, timingSafeEqual, webcrypto } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { SignJWT } from 'jose';
import * as client from 'openid-client';

const TOKEN_SECONDS = 60;
const COOKIE = 'signin';

const configuration = JSON.parse(readFileSync(process.argv[2], 'utf8'));
const { issuer, client_id, client_secret, shared_secret, endpoint, session_secret, port } = configuration;
const origin = `http://127.0.0.1:${port}`;
const redirectUri = `${origin}/callback`;

const provider = await client.discovery(new URL(issuer), client_id, undefined, client.ClientSecretBasic(client_secret), {
  // The signature of the ID token is optional behind TLS; the others check it, so this one does.
  execute: [client.enableNonRepudiationChecks, ...(issuer.startsWith('http:') ? [client.allowInsecureRequests] : [])],
});
const key = await webcrypto.subtle.importKey(
  'raw', Buffer.from(shared_secret), { name: 'HMAC', hash: 'SHA-256' }, false, ['sign'],
);

const macOf = (text) => createHmac('sha256', session_secret).update(text).digest('base64url');

function sign(value) {
  const text = Buffer.from(JSON.stringify(value)).toString('base64url');
  return `${text}.${macOf(text)}`;
}

function unsign(header = '') {
  const found = header.split('; ').find((pair) => pair.startsWith(`${COOKIE}=`));
  if (!found) throw new Error('no cookie');
  const [text, mac] = found.slice(COOKIE.length + 1).split('.');
  const expected = Buffer.from(macOf(text));
  const got = Buffer.from(mac ?? '');
  if (got.length !== expected.length || !timingSafeEqual(got, expected)) throw new Error('the cookie is not ours');
  return JSON.parse(Buffer.from(text, 'base64url').toString());
}

async function login(url, response) {
  const transaction = {
    state: client.randomState(),
    nonce: client.randomNonce(),
    verifier: client.randomPKCECodeVerifier(),
    redirect_url: url.searchParams.get('redirect_url'),
  };
  const location = client.buildAuthorizationUrl(provider, {
    redirect_uri: redirectUri,
    scope: 'openid email profile',
    state: transaction.state,
    nonce: transaction.nonce,
    code_challenge: await client.calculatePKCECodeChallenge(transaction.verifier),
    code_challenge_method: 'S256',
  });
  response.writeHead(302, {
    Location: location.href,
    'Set-Cookie': `${COOKIE}=${sign(transaction)}; Path=/; HttpOnly; SameSite=Lax; Max-Age=600`,
  }).end();
}

async function callback(url, request, response) {
  const { state, nonce, verifier, redirect_url } = unsign(request.headers.cookie);
  const tokens = await client.authorizationCodeGrant(provider, url, {
    expectedState: state, expectedNonce: nonce, pkceCodeVerifier: verifier, idTokenExpected: true,
  });
  const person = await client.fetchUserInfo(provider, tokens.access_token, tokens.claims().sub);
  const now = Math.floor(Date.now() / 1000);
  const token = await new SignJWT({ email: person.email, name: person.name })
    .setProtectedHeader({ alg: 'HS256', typ: 'JWT' }).setIssuedAt(now).setExpirationTime(now + TOKEN_SECONDS).sign(key);
  response.writeHead(303, {
    Location: `${endpoint}?${new URLSearchParams({ jwt: token, redirect_url })}`,
    'Set-Cookie': `${COOKIE}=; Path=/; HttpOnly; SameSite=Lax; Max-Age=0`,
  }).end();
}

async function answer(request, response) {
  const url = new URL(request.url, origin);
  if (url.pathname === '/login') await login(url, response);
  else if (url.pathname === '/callback') await callback(url, request, response);
  else response.writeHead(404).end();
}

createServer((request, response) => {
  answer(request, response).catch((error) => {
    console.error(error);
    if (!response.headersSent) response.writeHead(500);
    response.end();
  });
}).listen({ port, host: '127.0.0.1', backlog: 4096 });
process.once('SIGTERM', () => process.exit(0));
