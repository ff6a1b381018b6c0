// SPDX-License-Identifier: Apache-2.0
// What every client must live through at a branch. A client's script calls run(connect), where
//
//   connect({api, token, number, secret, verify}, onMessage) gives
//     webhook(request)            what its HTTP server does with a request (hook.mjs), by the client's own
//                                 check; calls onMessage({id, from, text, context}) as the client understood
//                                 a text message
//     text(to, body)              sends; gives the id it was answered, as does:
//     reply(to, body, messageId)
//     textOf(body)                the text object that it makes of these words
//     sends(to, messageId)        all it can send to somebody who wrote messageId: [[name, send(), body], ..]
//                                 with the body that must reach the phone
//     unsupported()               all else that it can ask of WhatsApp: [[name, ask()], ..], where ask() gives
//                                 {code, details} of the error it was answered
//
// and the story's name on the command line says which is told. Standard input's first line describes the
// world, and its second says that it is up; our first line of output is the port of the webhooks' server.
import assert from "node:assert/strict";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";

import { envelope } from "./expected.mjs";
import { Hook } from "./hook.mjs";
import { Sandbox, until } from "./sandbox.mjs";

const CUSTOMER = "254711000001";
const STATUSES = ["sent", "delivered", "read"];

/** Order is kept within these: there is none between lanes, and a read mark belongs to no customer. */
function laneOf(body) {
    if (body.status) return "read marks";
    return { template: "alert", document: "document" }[body.type] ?? "chat";
}

function byLane(bodies) {
    const lanes = {};
    for (const body of bodies) (lanes[laneOf(body)] ??= []).push(body);
    return lanes;
}

/** A body as the program sent it, from what reached WhatsApp: ids[Meta's] is the one the program knows. */
function restored(message, ids) {
    const { biz_opaque_callback_data: token, ...body } = structuredClone(message.body);
    if (message.kind === "message") assert.equal(typeof token, "string", "a message without our token");
    const known = (id) => ids.get(id) ?? `unknown ${id}`;
    if (body.context) body.context.message_id = known(body.context.message_id);
    if (body.reaction) body.reaction.message_id = known(body.reaction.message_id);
    if (body.status) body.message_id = known(body.message_id);
    return body;
}

function withoutOpaque({ biz_opaque_callback_data: _, ...body }) {
    return body;
}

class Story {
    constructor(client, hook, sandbox, understood) {
        Object.assign(this, { client, hook, sandbox, understood });
        this.ids = new Map();
    }

    /** What the phone gets of a text. */
    textBody(body) {
        return { ...envelope(CUSTOMER), type: "text", text: this.client.textOf(body) };
    }

    /** The customer writes; returns the message as the client understood it. */
    async customerWrites(message) {
        const before = this.understood.length;
        const metas = await this.sandbox.writes(CUSTOMER, message);
        const got = await until("the program got the message", () => this.understood[before]);
        assert.match(got.id, /^wamid\./);
        assert.notEqual(got.id, metas);
        assert.equal(got.from, CUSTOMER);
        this.ids.set(metas, got.id);
        return got;
    }

    /** Exactly these bodies are with WhatsApp, each once, in order. */
    async arrived(bodies, seconds) {
        const enough = async () => (await this.sandbox.received()).length >= bodies.length;
        await until("all arrived", enough, seconds).catch(() => {}); // The next check says which did not.
        const got = (await this.sandbox.received()).map((message) => restored(message, this.ids));
        assert.deepEqual(byLane(got), byLane(bodies.map(withoutOpaque)));
    }

    /** Each message was sent, delivered and read, in this order; a reaction was sent. */
    async settled(messages) {
        for (const { id, body } of messages) {
            const expected = body.type === "reaction" ? STATUSES.slice(0, 1) : STATUSES;
            const enough = () => this.hook.statusesOf(id).length >= expected.length;
            await until("all statuses came", enough).catch(() => {}); // As above.
            assert.deepEqual(this.hook.statusesOf(id), expected, `statuses of ${body.type} ${id}`);
            for (const status of this.hook.statuses.filter((each) => each.id === id)) {
                assert.equal(status.recipient_id, CUSTOMER);
                assert.equal(status.biz_opaque_callback_data, body.biz_opaque_callback_data);
            }
        }
    }

    ended() {
        assert.deepEqual(this.hook.complaints, []);
        assert.equal(this.hook.handshakes, 1, "handshakes that the client took");
    }
}

const stories = {
    async all_that_it_can_send_reaches_the_phone_once(story) {
        const inbound = await story.customerWrites({
            text: "Habari \u2014 \u0645\u0631\u062d\u0628\u0627 \u{1f600}",
        });
        assert.equal(inbound.text, "Habari \u2014 \u0645\u0631\u062d\u0628\u0627 \u{1f600}");
        const steps = story.client.sends(CUSTOMER, inbound.id);
        const sent = [];
        for (const [name, send, body] of steps) {
            const id = await send().catch((error) => assert.fail(`${name}: ${error.stack}`));
            sent.push({ id, body });
        }
        const answered = sent.filter(({ id }) => id);
        for (const { id } of answered) assert.match(id, /^wamid\.[A-Za-z0-9_-]+$/);
        assert.equal(new Set(answered.map(({ id }) => id)).size, answered.length, "an id was given twice");
        const bodies = sent.map(({ body }) => body);
        await story.arrived(bodies);
        await story.settled(answered);
        await story.arrived(bodies);
        const messages = bodies.filter(({ status }) => !status);
        await until(
            "each message was sent",
            () => story.hook.statuses.filter(({ status }) => status === "sent").length === messages.length,
        );
        assert.equal(story.understood.length, 1);
    },

    async it_answers_who_writes_and_hears_what_is_answered(story) {
        const question = await story.customerWrites({ text: "Is my card ready?" });
        const text = "It is. \u0643\u0627\u0631\u062a\u0643 \u062c\u0627\u0647\u0632\u0629";
        const answer = await story.client.reply(CUSTOMER, text, question.id);
        const body = { ...story.textBody(text), context: { message_id: question.id } };
        await story.arrived([body]);
        const [{ id: metas }] = await story.sandbox.received();
        // WhatsApp knows the answer by another id than the program, which must hear of it by its own.
        const thanks = await story.customerWrites({
            type: "text",
            text: { body: "Asante" },
            context: { from: "254700000001", id: metas },
        });
        assert.equal(thanks.text, "Asante");
        assert.equal(thanks.context, answer);
        await story.sandbox.writes(CUSTOMER, {
            type: "reaction",
            reaction: { message_id: metas, emoji: "\u{1f44d}" },
        });
        const reaction = await until("the reaction came", () => story.hook.messages[2]);
        assert.deepEqual(reaction.reaction, { message_id: answer, emoji: "\u{1f44d}" });
        await story.settled([{ id: answer, body }]);
        assert.equal(story.hook.messages.length, 3);
        assert.equal((await story.sandbox.received()).length, 1);
    },

    async five_sent_while_the_link_is_down_arrive_once_in_order(story) {
        await story.sandbox.link("down");
        const sent = [];
        for (let i = 1; i <= 5; i++) {
            const began = Date.now();
            const id = await story.client.text(CUSTOMER, `number ${i}`);
            assert.ok(Date.now() - began < 1000, `answered after ${Date.now() - began} ms`);
            sent.push({ id, body: story.textBody(`number ${i}`) });
        }
        for (let i = 1; i <= 5; i++) await story.sandbox.writes(CUSTOMER, { text: `answer ${i}` });
        await sleep(1000);
        assert.deepEqual(await story.sandbox.received(), []);
        assert.deepEqual(story.understood, []);
        await story.sandbox.link("up");
        const bodies = sent.map(({ body }) => body);
        await story.arrived(bodies, 40);
        await story.settled(sent);
        await story.arrived(bodies);
        await until("five answers came", () => story.understood.length >= 5);
        assert.deepEqual(
            story.understood.map(({ text }) => text),
            [1, 2, 3, 4, 5].map((i) => `answer ${i}`),
        );
    },

    async what_is_not_supported_yet_is_refused_in_words(story) {
        for (const [name, ask] of story.client.unsupported()) {
            const began = Date.now();
            const error = await ask();
            assert.equal(error?.code, 100, name);
            assert.match(error.details, /^Not supported by the relay yet: /, name);
            assert.ok(Date.now() - began < 5000, `${name}: answered after ${Date.now() - began} ms`);
        }
        const id = await story.client.text(CUSTOMER, "Still there");
        const body = story.textBody("Still there");
        await story.arrived([body]);
        await story.settled([{ id, body }]);
    },
};

export async function run(connect) {
    const tell = stories[process.argv[2]];
    assert.ok(tell, `no such story; there are ${Object.keys(stories).join(" ")}`);
    const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
    const world = JSON.parse((await lines.next()).value);
    const understood = [];
    const client = await connect(world, (message) => understood.push(message));
    const hook = new Hook(client);
    console.log(await hook.listen());
    assert.equal((await lines.next()).value, "go");
    const story = new Story(client, hook, new Sandbox(world.sandbox), understood);
    try {
        await tell(story);
        story.ended();
    } catch (error) {
        console.error(error);
        const statuses = hook.statuses.map(({ id, status }) => `${status} ${id}`);
        console.error("The webhooks' server complains:", hook.complaints, "Got:", hook.messages, statuses);
        process.exitCode = 1;
    }
    hook.close();
    process.stdin.destroy();
}
