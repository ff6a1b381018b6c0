// SPDX-License-Identifier: Apache-2.0
// @kapso/whatsapp-cloud-api: it has a call for each type, and writes its own names in Meta's way.
import { buildTemplateSendPayload, WhatsAppClient } from "@kapso/whatsapp-cloud-api";
import { normalizeWebhook, verifySignature } from "@kapso/whatsapp-cloud-api/server";
import assert from "node:assert/strict";

import { envelope, messages } from "./expected.mjs";
import { run } from "./story.mjs";

const { link, place } = messages;
const card = {
    name: { formattedName: "Wanjiru Kamau", firstName: "Wanjiru" },
    phones: [{ phone: "+254 722 000111", type: "WORK", waId: "254722000111" }],
    emails: [{ email: "wanjiru@bank.example", type: "WORK" }],
    org: { company: "Bank", title: "Teller" },
};

await run(({ api, token, number, secret, verify }, onMessage) => {
    const client = new WhatsAppClient({ accessToken: token, baseUrl: api });
    const idOf = async (sending, to) => {
        const answer = await sending;
        assert.equal(answer.messagingProduct, "whatsapp");
        assert.deepEqual(answer.contacts, [{ input: to, waId: to }]);
        return answer.messages[0].id;
    };
    const text = (to, body, more = {}) =>
        idOf(client.messages.sendText({ phoneNumberId: number, to, body, ...more }), to);

    function sends(to, messageId) {
        const base = { phoneNumberId: number, to };
        const step = (name, method, input, body) => [
            name,
            () => idOf(client.messages[method]({ ...base, ...input }), to),
            { ...envelope(to), ...body },
        ];
        const mark = (name, input, body) => [
            name,
            async () => {
                assert.deepEqual(
                    await client.messages.markRead({ phoneNumberId: number, messageId, ...input }),
                    { success: true },
                );
            },
            { messaging_product: "whatsapp", status: "read", message_id: messageId, ...body },
        ];
        return [
            mark("read mark", {}, {}),
            mark("typing", { typingIndicator: { type: "text" } }, { typing_indicator: { type: "text" } }),
            step(
                "text",
                "sendText",
                { body: "Salio lako \u{1f4b0}", previewUrl: false, bizOpaqueCallbackData: "account 12345" },
                {
                    type: "text",
                    text: { body: "Salio lako \u{1f4b0}", preview_url: false },
                    biz_opaque_callback_data: "account 12345",
                },
            ),
            step(
                "reply",
                "sendText",
                { body: "A reply", contextMessageId: messageId },
                { type: "text", text: { body: "A reply" }, context: { message_id: messageId } },
            ),
            step(
                "reaction",
                "sendReaction",
                { reaction: { messageId, emoji: "\u{1f44d}" } },
                { type: "reaction", reaction: { message_id: messageId, emoji: "\u{1f44d}" } },
            ),
            step(
                "template",
                "sendTemplate",
                {
                    template: buildTemplateSendPayload({
                        name: "order_confirmation",
                        language: "en_US",
                        body: [{ type: "text", text: "Wanjiru", parameterName: "customer_name" }],
                        buttons: [
                            {
                                type: "button",
                                subType: "url",
                                index: 0,
                                parameters: [{ type: "text", text: "ab12" }],
                            },
                        ],
                    }),
                },
                {
                    type: "template",
                    template: {
                        name: "order_confirmation",
                        language: { code: "en_US" },
                        components: [
                            {
                                type: "body",
                                parameters: [
                                    { type: "text", text: "Wanjiru", parameter_name: "customer_name" },
                                ],
                            },
                            {
                                type: "button",
                                sub_type: "url",
                                index: 0,
                                parameters: [{ type: "text", text: "ab12" }],
                            },
                        ],
                    },
                },
            ),
            step(
                "buttons",
                "sendInteractiveButtons",
                {
                    header: { type: "text", text: "Loan" },
                    bodyText: "Take it?",
                    footerText: "Bank",
                    buttons: [
                        { id: "yes", title: "Yes" },
                        { id: "no", title: "No" },
                    ],
                },
                messages.buttons,
            ),
            step(
                "list",
                "sendInteractiveList",
                {
                    bodyText: "Which branch?",
                    buttonText: "Branches",
                    sections: [
                        {
                            title: "Near you",
                            rows: [
                                { id: "nyeri", title: "Nyeri", description: "Main street" },
                                { id: "karatina", title: "Karatina" },
                            ],
                        },
                    ],
                },
                messages.list,
            ),
            step(
                "link button",
                "sendInteractiveCtaUrl",
                { bodyText: "Your statement", parameters: { displayText: "Open", url: link("statement") } },
                messages.linkButton,
            ),
            step(
                "flow",
                "sendInteractiveFlow",
                {
                    bodyText: "Open an account",
                    parameters: {
                        flowId: "1234567890",
                        flowCta: "Begin",
                        mode: "draft",
                        flowToken: "token123",
                        flowAction: "navigate",
                        flowActionPayload: { screen: "WELCOME" },
                    },
                },
                {
                    type: "interactive",
                    interactive: {
                        type: "flow",
                        body: { text: "Open an account" },
                        action: {
                            name: "flow",
                            parameters: {
                                flow_message_version: "3",
                                flow_id: "1234567890",
                                flow_cta: "Begin",
                                mode: "draft",
                                flow_token: "token123",
                                flow_action: "navigate",
                                flow_action_payload: { screen: "WELCOME" },
                            },
                        },
                    },
                },
            ),
            step(
                "location request",
                "sendInteractiveLocationRequest",
                { bodyText: "Where are you?", parameters: { requestMessage: "Where are you?" } },
                {
                    type: "interactive",
                    interactive: {
                        type: "location_request_message",
                        body: { text: "Where are you?" },
                        action: {
                            name: "send_location",
                            parameters: { request_message: "Where are you?" },
                        },
                    },
                },
            ),
            ...messages.media.map((body) =>
                step(
                    body.type,
                    `send${body.type[0].toUpperCase()}${body.type.slice(1)}`,
                    { [body.type]: body[body.type] },
                    body,
                ),
            ),
            step("location", "sendLocation", { location: place }, { type: "location", location: place }),
            step("contacts", "sendContacts", { contacts: [card] }, messages.contacts),
        ];
    }

    function webhook({ method, url, headers, raw }) {
        if (method === "GET") {
            const query = new URL(url, api).searchParams;
            const known = query.get("hub.mode") === "subscribe" && query.get("hub.verify_token") === verify;
            return { status: known ? 200 : 403, body: known ? query.get("hub.challenge") : "" };
        }
        const genuine = verifySignature({
            appSecret: secret,
            rawBody: raw,
            signatureHeader: headers["x-hub-signature-256"],
        });
        if (!genuine) return { status: 401, body: "" };
        for (const message of normalizeWebhook(JSON.parse(raw)).messages)
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
        text,
        sends,
        textOf: (body) => ({ body }),
        reply: (to, body, messageId) => text(to, body, { contextMessageId: messageId }),
    };
});
