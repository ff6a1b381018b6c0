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
                messages.flow,
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
            step(
                "product",
                "sendInteractiveProduct",
                { catalogId: "77", productRetailerId: "card-gold" },
                messages.product,
            ),
            step(
                "product list",
                "sendInteractiveProductList",
                {
                    header: { type: "text", text: "Cards" },
                    bodyText: "Which one?",
                    catalogId: "77",
                    sections: [
                        { title: "Credit", productItems: [{ productRetailerId: "card-gold" }] },
                        { title: "Debit", productItems: [{ productRetailerId: "card-blue" }] },
                    ],
                },
                messages.productList,
            ),
            step(
                "catalogue",
                "sendInteractiveCatalogMessage",
                {
                    bodyText: "All that we have",
                    parameters: { thumbnailProductRetailerId: "card-gold" },
                },
                messages.catalog,
            ),
            step(
                "carousel",
                "sendInteractiveCarousel",
                {
                    bodyText: "Our branches",
                    cards: [0, 1].map((cardIndex) => ({
                        cardIndex,
                        header: { type: "image", image: { link: link(`${cardIndex}.png`) } },
                        bodyText: `Branch ${cardIndex}`,
                        action: { displayText: "Open", url: link(`${cardIndex}`) },
                    })),
                },
                {
                    type: "interactive",
                    interactive: {
                        type: "carousel",
                        body: { text: "Our branches" },
                        action: {
                            cards: [0, 1].map((index) => ({
                                card_index: index,
                                type: "cta_url",
                                header: { type: "image", image: { link: link(`${index}.png`) } },
                                body: { text: `Branch ${index}` },
                                action: {
                                    name: "cta_url",
                                    parameters: { display_text: "Open", url: link(`${index}`) },
                                },
                            })),
                        },
                    },
                },
            ),
            step(
                "address",
                "sendInteractiveAddress",
                { bodyText: "Where to?", parameters: { country: "IN", values: { name: "Wanjiru" } } },
                {
                    type: "interactive",
                    interactive: {
                        type: "address_message",
                        body: { text: "Where to?" },
                        action: {
                            name: "address_message",
                            parameters: { country: "IN", values: { name: "Wanjiru" } },
                        },
                    },
                },
            ),
            step(
                "call permission",
                "sendInteractiveCallPermission",
                { bodyText: "May we call?", parameters: { phoneNumber: "254700000001" } },
                {
                    type: "interactive",
                    interactive: {
                        type: "call_permission_request",
                        body: { text: "May we call?" },
                        action: {
                            name: "call_permission_request",
                            parameters: { phone_number: "254700000001" },
                        },
                    },
                },
            ),
            step(
                "interactive of any type",
                "sendInteractiveRaw",
                { interactive: messages.orderDetails.interactive },
                messages.orderDetails,
            ),
            step(
                "reaction taken back",
                "sendReaction",
                { reaction: { messageId, emoji: "" } },
                { type: "reaction", reaction: { message_id: messageId, emoji: "" } },
            ),
            step("media by id", "sendImage", { image: messages.mediaById.image }, messages.mediaById),
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

    function unsupported() {
        const phoneNumberId = number;
        const account = "102310231023";
        const session = { sdpType: "answer", sdp: "v=0" };
        const call = { phoneNumberId, callId: "wacid.1" };
        const { media, templates, phoneNumbers, calls, flows } = client;
        const file = new Blob(["picture"], { type: "image/png" });
        const ask = (name, asked) => [
            name,
            () =>
                asked().then(
                    () => undefined,
                    ({ code, details }) => ({ code, details }),
                ),
        ];
        return [
            ask("upload", () => media.upload({ phoneNumberId, type: "image/png", file, fileName: "a.png" })),
            ask("media", () => media.get({ mediaId: "1479537139650973" })),
            ask("media of a number", () => media.get({ mediaId: "1479537139650973", phoneNumberId })),
            ask("download", () => media.download({ mediaId: "1479537139650973" })),
            ask("delete media", () => media.delete({ mediaId: "1479537139650973" })),
            ask("templates", () => templates.list({ businessAccountId: account, limit: 10 })),
            ask("template", () => templates.get({ businessAccountId: account, templateId: "7" })),
            ask("delete template", () => templates.delete({ businessAccountId: account, name: "otp" })),
            ask("create template", () =>
                templates.create({
                    businessAccountId: account,
                    name: "otp",
                    language: "en",
                    category: "UTILITY",
                    components: [{ type: "BODY", text: "x" }],
                }),
            ),
            ask("request code", () =>
                phoneNumbers.requestCode({ phoneNumberId, codeMethod: "SMS", language: "en_US" }),
            ),
            ask("verify code", () => phoneNumbers.verifyCode({ phoneNumberId, code: "123456" })),
            ask("register", () => phoneNumbers.register({ phoneNumberId, pin: "123456" })),
            ask("deregister", () => phoneNumbers.deregister({ phoneNumberId })),
            ask("settings", () => phoneNumbers.settings.get({ phoneNumberId })),
            ask("set settings", () => phoneNumbers.settings.update({ phoneNumberId })),
            ask("profile", () => phoneNumbers.businessProfile.get({ phoneNumberId })),
            ask("set profile", () => phoneNumbers.businessProfile.update({ phoneNumberId, about: "Bank" })),
            ask("call", () => calls.connect({ phoneNumberId, to: "254711000001", session })),
            ask("pre-accept", () => calls.preAccept({ ...call, session })),
            ask("accept", () => calls.accept({ ...call, session })),
            ask("reject", () => calls.reject(call)),
            ask("terminate", () => calls.terminate(call)),
            ask("flows", () => flows.list({ wabaId: account })),
            ask("flow", () => flows.get({ flowId: "1234567890" })),
            ask("publish flow", () => flows.publish({ flowId: "1234567890" })),
            ask("deprecate flow", () => flows.deprecate({ flowId: "1234567890" })),
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
        unsupported,
        textOf: (body) => ({ body }),
        reply: (to, body, messageId) => text(to, body, { contextMessageId: messageId }),
    };
});
