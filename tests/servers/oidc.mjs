// oidc-provider with one native application: refresh tokens rotate, a second use of one revokes the login.
import { pathToFileURL } from 'node:url';

const [modules, port, life] = process.argv.slice(2);
const { default: Provider } = await import(pathToFileURL(`${modules}/oidc-provider/lib/index.js`));
new Provider(`http://127.0.0.1:${port}`, {
  clients: [{
    client_id: 'app-1',
    client_secret: 'app-secret-7f3a',
    application_type: 'native',
    grant_types: ['authorization_code', 'refresh_token'],
    redirect_uris: ['http://127.0.0.1/'],
    token_endpoint_auth_method: 'client_secret_post',
  }],
  scopes: ['openid', 'offline_access', 'files'],
  pkce: { required: () => true },
  rotateRefreshToken: true,
  issueRefreshToken: async () => true,
  ttl: { AccessToken: +life, RefreshToken: 600, AuthorizationCode: 60, Interaction: 600, Session: 600, Grant: 600 },
  features: { devInteractions: { enabled: true }, revocation: { enabled: true } },
}).listen(+port, '127.0.0.1');
