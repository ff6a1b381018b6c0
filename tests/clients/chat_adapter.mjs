// SPDX-License-Identifier: Apache-2.0
// @chat-adapter/whatsapp under the bot framework it was made for: cards become buttons, attachments become
// media. It has no list, sticker, location or contacts to send, and tells a bot of no status.
import { createMemoryState } from "@chat-adapter/state-memory";
import { createWhatsAppAdapter } from "@chat-adapter/whatsapp";
import { Actions, Button, Card, CardText, Chat, ConsoleLogger, LinkButton } from "chat";

import { envelope, messages } from "./expected.mjs";
import { run } from "./story.mjs";

await run(async ({ api, token, number, secret, verify }, onMessage) => {
    const logger = new ConsoleLogger("error");
    const adapter = createWhatsAppAdapter({
        accessToken: token,
        apiUrl: api,
        appSecret: secret,
        phoneNumberId: number,
        verifyToken: verify,
        logger,
    });
    const bot = new Chat({
        userName: "bank",
        adapters: { whatsapp: adapter },
        state: createMemoryState(),
        logger,
        concurrency: "concurrent",
    });
    let thread; // The last customer's: a bot knows one from the first message on.
    bot.onDirectMessage((from, message) => {
        thread = from;
        onMessage({
            id: message.id,
            from: message.author.userId,
            text: message.text,
            context: message.raw.message.context?.id,
        });
    });
    await bot.initialize();
    const idOf = async (sending) => (await sending).id;
    const textOf = (body) => ({ preview_url: false, body });
    const threadOf = (to) => adapter.openDM(to);

    function sends(to, messageId) {
        const threadId = adapter.encodeThreadId({ phoneNumberId: number, userWaId: to });
        const step = (name, send, body) => [name, () => idOf(send()), { ...envelope(to), ...body }];
        const quiet = (name, send, body) => [
            name,
            async () => {
                await send();
            },
            body,
        ];
        const marked = { messaging_product: "whatsapp", status: "read", message_id: messageId };
        const reaction = (emoji) => ({
            ...envelope(to),
            type: "reaction",
            reaction: { message_id: messageId, emoji },
        });
        const media = messages.media
            .filter(({ type }) => type !== "sticker")
            .map((body) => {
                const { link, caption, filename } = body[body.type];
                const attachment = {
                    type: body.type === "document" ? "file" : body.type,
                    url: link,
                    name: filename,
                };
                return step(
                    body.type,
                    () => thread.post({ raw: caption ?? "", attachments: [attachment] }),
                    body,
                );
            });
        return [
            quiet("read mark", () => thread.markAsRead(messageId), marked),
            quiet("typing", () => thread.startTyping(), { ...marked, typing_indicator: { type: "text" } }),
            step("text", () => thread.post("Salio lako \u{1f4b0}"), {
                type: "text",
                text: textOf("Salio lako \u{1f4b0}"),
            }),
            step("markdown", () => thread.post({ markdown: "It is **ready**" }), {
                type: "text",
                text: textOf("It is *ready*"),
            }),
            step("reply", () => adapter.reply(threadId, messageId, "A reply"), {
                type: "text",
                context: { message_id: messageId },
                text: textOf("A reply"),
            }),
            quiet(
                "reaction",
                () => adapter.addReaction(threadId, messageId, "thumbs_up"),
                reaction("\u{1f44d}"),
            ),
            quiet(
                "reaction taken back",
                () => adapter.removeReaction(threadId, messageId, "thumbs_up"),
                reaction(""),
            ),
            step(
                "template",
                () =>
                    adapter.sendTemplate(threadId, {
                        name: "appointment_reminder",
                        language: "en",
                        components: [
                            { type: "body", parameters: [{ type: "text", text: "Tomorrow at 2pm" }] },
                        ],
                    }),
                {
                    type: "template",
                    template: {
                        name: "appointment_reminder",
                        language: { code: "en" },
                        components: [
                            { type: "body", parameters: [{ type: "text", text: "Tomorrow at 2pm" }] },
                        ],
                    },
                },
            ),
            step(
                "buttons",
                () =>
                    thread.post(
                        Card({
                            title: "Loan",
                            children: [
                                CardText("Take it?"),
                                Actions([
                                    Button({ id: "yes", label: "Yes", value: "7" }),
                                    Button({ id: "no", label: "No" }),
                                ]),
                            ],
                        }),
                    ),
                {
                    type: "interactive",
                    interactive: {
                        type: "button",
                        header: { type: "text", text: "Loan" },
                        body: { text: "Take it?" },
                        action: {
                            buttons: [
                                { type: "reply", reply: { id: 'chat:{"a":"yes","v":"7"}', title: "Yes" } },
                                { type: "reply", reply: { id: 'chat:{"a":"no"}', title: "No" } },
                            ],
                        },
                    },
                },
            ),
            step(
                "link button",
                () =>
                    thread.post(
                        Card({
                            children: [
                                CardText("Your statement"),
                                Actions([LinkButton({ url: messages.link("statement"), label: "Open" })]),
                            ],
                        }),
                    ),
                messages.linkButton,
            ),
            ...media,
        ];
    }

    function unsupported() {
        const ask = (name, asked) => [
            name,
            () =>
                asked().then(
                    () => undefined,
                    ({ errorCode, details }) => ({ code: errorCode, details }),
                ),
        ];
        const data = Buffer.from("picture");
        return [
            ask("upload", () => adapter.uploadMedia({ data, mimeType: "image/png", filename: "a.png" })),
            ask("download", () => adapter.downloadMedia("1479537139650973")),
        ];
    }

    async function webhook({ method, url, headers, raw }) {
        const handled = [];
        const request = new Request(new URL(url, api), {
            method,
            headers,
            body: method === "POST" ? raw : undefined,
        });
        const response = await bot.webhooks.whatsapp(request, { waitUntil: (task) => handled.push(task) });
        const body = await response.text();
        await Promise.all(handled);
        return { status: response.status, body };
    }

    return {
        webhook,
        sends,
        unsupported,
        textOf,
        text: async (to, body) => idOf(adapter.postMessage(await threadOf(to), body)),
        reply: async (to, body, messageId) => idOf(adapter.reply(await threadOf(to), messageId, body)),
    };
});
