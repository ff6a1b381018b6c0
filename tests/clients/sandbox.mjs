// SPDX-License-Identifier: Apache-2.0
// The practice WhatsApp as the stories use it: customers' phones, and the switch of the link.
import { setTimeout as sleep } from "node:timers/promises";

/** Asks probe() again and again until it gives something true, which is returned. */
export async function until(what, probe, seconds = 20) {
    const end = Date.now() + seconds * 1000;
    for (;;) {
        const got = await probe();
        if (got) return got;
        if (Date.now() > end) throw new Error(`waited ${seconds} s in vain until ${what}`);
        await sleep(20);
    }
}

export class Sandbox {
    constructor(port) {
        this.url = `http://127.0.0.1:${port}`;
    }

    async #ask(path, body) {
        const post = {
            method: "POST",
            headers: { "Content-Type": "application/json" },
            body: JSON.stringify(body),
        };
        const answer = await fetch(this.url + path, body ? post : {});
        if (answer.status !== 200) throw new Error(`${path}: ${answer.status} ${await answer.text()}`);
        return answer.json();
    }

    /** All that WhatsApp took, as it came, repeats and all: {kind: message|read, id, number, body}. */
    async received() {
        return (await this.#ask("/received?after=0&limit=10000")).messages;
    }

    /** The customer writes; returns the id that WhatsApp gave the message. */
    async writes(number, message) {
        return (await this.#ask(`/phone/${number}/messages`, message)).id;
    }

    async link(state) {
        await this.#ask("/link", { state });
    }
}
