// Starts npm's emulators of Okta, Entra (which it calls microsoft) and Google on loopback and prints
// {"okta": address, ...} once they listen.
//
// One JSON argument: {emulator: {users, oauth_clients}}, in the words of `emulate`; each adds a person of its own.
//
// The sign-in pages, tokens and metadata are the emulators' own. Their addresses say localhost, the broker's 127.0.0.1:
// to a browser these are two sites, as a provider's and the broker's are.
import { createEmulator } from 'emulate';

const seed = JSON.parse(process.argv[2]);

const addresses = {};
for (const service of Object.keys(seed)) {
  const emulator = await createEmulator({ service, port: 0, seed });
  addresses[service] = emulator.url;
}
console.log(JSON.stringify(addresses));
