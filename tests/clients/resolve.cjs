// SPDX-License-Identifier: Apache-2.0
// Loaded before a client that calls a fixed host: here GRAPH_HOST lies at GRAPH_ADDRESS, as an entry in the
// hosts file or the branch's own DNS would have it.
const dns = require("node:dns");

const { lookup } = dns;
const { GRAPH_HOST: host, GRAPH_ADDRESS: address } = process.env;

dns.lookup = (name, options, done) => {
    if (name !== host) return lookup(name, options, done);
    if (typeof options === "function") [options, done] = [{}, options];
    if (options?.all) process.nextTick(done, null, [{ address, family: 4 }]);
    else process.nextTick(done, null, address, 4);
};
