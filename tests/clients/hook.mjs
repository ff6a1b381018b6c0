// SPDX-License-Identifier: Apache-2.0
// The HTTP server of a branch's program: what the relay posts goes to the client's own code, which says
// whether it is genuine; what it took is kept here.
import { createServer } from "node:http";
import { once } from "node:events";

/** The one message or status of a webhook: every POST to a program has exactly one. */
function onlyEvent(body) {
    const [entry, ...entries] = body.entry;
    const [change, ...changes] = entry.changes;
    const events = [...(change.value.messages ?? []), ...(change.value.statuses ?? [])];
    if (entries.length || changes.length || events.length !== 1)
        throw new Error("more or less than one event");
    return events[0];
}

export class Hook {
    /** client.webhook({method, url, headers, raw}) gives {status, body}; raw is a Buffer. */
    constructor(client) {
        this.client = client;
        this.handshakes = 0;
        this.messages = [];
        this.statuses = [];
        this.complaints = [];
        this.triedForgery = false;
    }

    async listen() {
        this.server = createServer((request, response) => this.#serve(request, response));
        this.server.listen(0, "127.0.0.1");
        await once(this.server, "listening");
        return this.server.address().port;
    }

    close() {
        this.server.close();
        this.server.closeAllConnections();
    }

    /** The words of the statuses of a message, in the order they came. */
    statusesOf(id) {
        return this.statuses.filter((status) => status.id === id).map((status) => status.status);
    }

    async #serve(request, response) {
        const pieces = [];
        for await (const piece of request) pieces.push(piece);
        const asked = {
            method: request.method,
            url: request.url,
            headers: request.headers,
            raw: Buffer.concat(pieces),
        };
        let answer = { status: 500, body: "" };
        try {
            await this.#tryForgery(asked);
            answer = await this.client.webhook(asked);
            if (answer.status === 200) this.#keep(asked);
            else this.complaints.push(`refused: ${answer.status} ${answer.body}`);
        } catch (error) {
            this.complaints.push(String(error));
        }
        response.writeHead(answer.status, { "Content-Type": "text/plain" }).end(answer.body);
    }

    /** One changed byte must be refused: otherwise the client's check of signatures would prove nothing. */
    async #tryForgery({ method, url, headers, raw }) {
        if (method !== "POST" || this.triedForgery) return;
        this.triedForgery = true;
        const forged = Buffer.from(
            raw.toString("latin1").replace("whatsapp_business", "whatsapp_bogusness"),
            "latin1",
        );
        const answer = await this.client.webhook({ method, url, headers, raw: forged });
        if (forged.equals(raw) || answer.status < 400) this.complaints.push("took a forged webhook");
    }

    #keep({ method, headers, raw }) {
        if (method === "GET") {
            this.handshakes++;
            return;
        }
        if (raw.some((byte) => byte > 126)) this.complaints.push("a body that is no pure ASCII");
        if (!headers["content-type"].startsWith("application/json"))
            this.complaints.push("is not called JSON");
        const event = onlyEvent(JSON.parse(raw));
        (event.status ? this.statuses : this.messages).push(event);
    }
}
