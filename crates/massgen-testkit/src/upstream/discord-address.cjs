// Points discord.js at another address than Discord's: the server itself offers no setting for it. For tests only.
//
//   NODE_OPTIONS="--require THIS-FILE"  DISCORD_API_ADDRESS=http://127.0.0.1:PORT/api
'use strict';

const Module = require('node:module');

const address = process.env.DISCORD_API_ADDRESS;
const original = Module.prototype.require;

if (address) {
  Module.prototype.require = function require(id) {
    const loaded = original.call(this, id);
    // The package reads its defaults when a client is made, which is after it was loaded.
    if (id === '@discordjs/rest' && loaded.DefaultRestOptions) loaded.DefaultRestOptions.api = address;
    return loaded;
  };
}
