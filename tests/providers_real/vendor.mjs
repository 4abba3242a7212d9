// Puts into oidc-provider's answers what a vendor says and oidc-provider never would.
//
//   discovery    members of the discovery document in place of its own; null: left out
//   key_members  members added to each published key
//   id_tokens    {login: claims}: members of that person's ID token in place of its own; null: left out; RS256 only
//
// Without authorization_response_iss_parameter_supported in the discovery document there is no `iss` at the callback.
import { sign } from 'node:crypto';

const replaced = (document, members) =>
  Object.fromEntries(Object.entries({ ...document, ...members }).filter(([, value]) => value !== null));

const encoded = (document) => Buffer.from(JSON.stringify(document)).toString('base64url');

export function soundLike({ discovery = {}, key_members = {}, id_tokens = {} }, privateKey) {
  const signedAnew = (idToken) => {
    const [header, payload] = idToken.split('.');
    const claims = JSON.parse(Buffer.from(payload, 'base64url'));
    if (!(claims.sub in id_tokens)) return idToken;
    const input = `${header}.${encoded(replaced(claims, id_tokens[claims.sub]))}`;
    return `${input}.${sign('sha256', Buffer.from(input), privateKey).toString('base64url')}`;
  };
  const saysWhoItIs = discovery.authorization_response_iss_parameter_supported !== null;
  return async (ctx, next) => {
    await next();
    const route = ctx.oidc?.route;
    if (route === 'discovery') ctx.body = replaced(ctx.body, discovery);
    if (route === 'jwks') ctx.body = { keys: ctx.body.keys.map((key) => ({ ...key, ...key_members })) };
    if (route === 'token' && ctx.body.id_token) ctx.body = { ...ctx.body, id_token: signedAnew(ctx.body.id_token) };
    if (!saysWhoItIs && ['authorization', 'resume'].includes(route) && ctx.response.get('location')) {
      const location = new URL(ctx.response.get('location'), ctx.href);
      location.searchParams.delete('iss');
      ctx.response.set('location', location.href);
    }
  };
}
