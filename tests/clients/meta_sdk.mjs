// SPDX-License-Identifier: Apache-2.0
// Meta's own SDK for Node, archived: https and port 443 of the host that its environment names, chunked bodies,
// recipients as numbers. It has no reaction to send. Its listener falls over every signed webhook, so a program
// that uses it must check them by itself, as this one does.
import assert from "node:assert/strict";
import { createHmac, timingSafeEqual } from "node:crypto";

import { envelope, graphError, messages } from "./expected.mjs";
import { run } from "./story.mjs";

await run(async ({ https, token, number, secret, verify }, onMessage) => {
    Object.assign(process.env, {
        NODE_ENV: "production", // Otherwise it loads dotenv, which it does not name among what it needs.
        WA_BASE_URL: https.split(":")[0],
        WA_PHONE_NUMBER_ID: number,
        CLOUD_API_VERSION: "v16.0",
        CLOUD_API_ACCESS_TOKEN: token,
        M4D_APP_ID: "1",
        M4D_APP_SECRET: secret,
        WEBHOOK_ENDPOINT: "hook",
        WEBHOOK_VERIFICATION_TOKEN: verify,
    });
    const { default: exported } = await import("whatsapp");
    const sdk = new (exported.default ?? exported)();
    const answerOf = async (sending) => (await sending).responseBodyToJSON();
    const idOf = async (sending, to) => {
        const answer = await answerOf(sending);
        assert.ok(!answer.error, JSON.stringify(answer.error));
        assert.deepEqual(answer.contacts, [{ input: to, wa_id: to }]);
        return answer.messages[0].id;
    };

    function sends(to, messageId) {
        const step = (name, body, replyTo) => [
            name,
            () => idOf(sdk.messages[body.type](body[body.type], Number(to), replyTo), to),
            { ...envelope(to), ...body, ...(replyTo ? { context: { message_id: replyTo } } : {}) },
        ];
        const text = { type: "text", text: { body: "Salio lako \u{1f4b0}", preview_url: false } };
        return [
            [
                "read mark",
                async () => {
                    const answer = sdk.messages.status({ status: "read", message_id: messageId });
                    assert.deepEqual(await answerOf(answer), { success: true });
                },
                { messaging_product: "whatsapp", status: "read", message_id: messageId },
            ],
            step("text", text),
            step("reply", text, messageId),
            step("template", {
                type: "template",
                template: {
                    name: "payment_due",
                    language: { policy: "deterministic", code: "en_US" },
                    components: [{ type: "body", parameters: [{ type: "text", text: "Wanjiru" }] }],
                },
            }),
            step("buttons", messages.buttons),
            step("list", messages.list, messageId),
            step("product", messages.product),
            step("product list", messages.productList),
            step("media by id", messages.mediaById),
            ...messages.media.map((body) => step(body.type, body)),
            step("location", { type: "location", location: messages.place }),
            step("contacts", messages.contacts),
        ];
    }

    function webhook({ method, url, headers, raw }) {
        if (method === "GET") {
            const query = new URL(url, "http://program").searchParams;
            const known = query.get("hub.verify_token") === verify;
            return { status: known ? 200 : 403, body: known ? query.get("hub.challenge") : "" };
        }
        const expected = Buffer.from(`sha256=${createHmac("sha256", secret).update(raw).digest("hex")}`);
        const said = Buffer.from(headers["x-hub-signature-256"] ?? "");
        if (said.length !== expected.length || !timingSafeEqual(said, expected))
            return { status: 401, body: "" };
        for (const message of JSON.parse(raw).entry[0].changes[0].value.messages ?? [])
            if (message.type === "text")
                onMessage({
                    id: message.id,
                    from: message.from,
                    text: message.text.body,
                    context: message.context?.id,
                });
        return { status: 200, body: "" };
    }

    return {
        webhook,
        sends,
        unsupported: () => [
            ["PIN", async () => graphError(await answerOf(sdk.twoStepVerification.setPin(123456)))],
        ],
        textOf: (body) => ({ body }),
        text: (to, body) => idOf(sdk.messages.text({ body }, Number(to)), to),
        reply: (to, body, messageId) => idOf(sdk.messages.text({ body }, Number(to), messageId), to),
    };
});
