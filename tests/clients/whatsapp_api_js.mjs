// SPDX-License-Identifier: Apache-2.0
// whatsapp-api-js: it calls https://graph.facebook.com and nothing else. Where the relay has port 443 it is led
// there by name (resolve.cjs); elsewhere by the fetch that it lets a program bring. It gives back what it is
// answered, errors too, and checks signatures over the escaped body.
import assert from "node:assert/strict";
import { WhatsAppAPI } from "whatsapp-api-js";
import { WhatsAppAPIError } from "whatsapp-api-js/errors";
import * as m from "whatsapp-api-js/messages";

import { envelope, graphError, messages } from "./expected.mjs";
import { run } from "./story.mjs";

await run(({ https, token, number, secret, verify }, onMessage) => {
    const elsewhere = (url, options) => {
        const there = new URL(url);
        there.host = https;
        return fetch(there, options);
    };
    const api = new WhatsAppAPI({
        token,
        appSecret: secret,
        webhookVerifyToken: verify,
        v: "v24.0",
        ponyfill: https.endsWith(":443") ? {} : { fetch: elsewhere },
    });
    api.on.message = ({ message, from }) => {
        if (message.type !== "text") return;
        onMessage({ id: message.id, from, text: message.text.body, context: message.context?.id });
    };
    const send = async (to, message, context, opaque) => {
        const answer = await api.sendMessage(number, to, message, context, opaque);
        assert.ok(!answer.error, JSON.stringify(answer.error));
        assert.equal(answer.messaging_product, "whatsapp");
        assert.deepEqual(answer.contacts, [{ input: to, wa_id: to }]);
        return answer.messages[0].id;
    };

    function sends(to, messageId) {
        const step = (name, message, body, context, opaque) => [
            name,
            () => send(to, message, context, opaque),
            { ...envelope(to), ...body },
        ];
        const mark = (name, indicator, more) => [
            name,
            async () => {
                assert.deepEqual(await api.markAsRead(number, messageId, indicator), { success: true });
            },
            { messaging_product: "whatsapp", status: "read", message_id: messageId, ...more },
        ];
        const interactive = (name, action, body, ...parts) =>
            step(name, new m.Interactive(action, ...parts), body);
        const reaction = (emoji) => ({ type: "reaction", reaction: { message_id: messageId, emoji } });
        const { media, place } = messages;
        const [image, video, audio, document, sticker] = media;
        const words = (text) => new m.Body(text);
        const language = { code: "en_US", policy: "deterministic" };
        return [
            mark("read mark", undefined, {}),
            mark("typing", "text", { typing_indicator: { type: "text" } }),
            step(
                "text",
                new m.Text("Salio lako \u{1f4b0}", true),
                {
                    type: "text",
                    text: { body: "Salio lako \u{1f4b0}", preview_url: true },
                    biz_opaque_callback_data: "account 12345",
                },
                undefined,
                "account 12345",
            ),
            step(
                "reply",
                new m.Text("A reply"),
                { type: "text", text: { body: "A reply" }, context: { message_id: messageId } },
                messageId,
            ),
            step("reaction", new m.Reaction(messageId, "\u{1f44d}"), reaction("\u{1f44d}")),
            step("reaction taken back", new m.Reaction(messageId), reaction("")),
            step(
                "reaction and reply in one",
                new m.Reaction(messageId, "\u{1f389}"),
                { ...reaction("\u{1f389}"), context: { message_id: messageId } },
                messageId,
            ),
            step("one-time password", m.Template.OTP("otp_login", "en_US", "482915"), {
                type: "template",
                template: {
                    name: "otp_login",
                    language,
                    components: [
                        { type: "body", parameters: [{ type: "text", text: "482915" }] },
                        {
                            type: "button",
                            sub_type: "url",
                            index: 0,
                            parameters: [{ type: "text", text: "482915" }],
                        },
                    ],
                },
            }),
            step(
                "template",
                new m.Template(
                    "payment_due",
                    "en_US",
                    new m.HeaderComponent(new m.HeaderParameter(new m.Image(image.image.link))),
                    new m.BodyComponent(
                        new m.BodyParameter("Wanjiru"),
                        new m.BodyParameter(new m.Currency(100000, "KES", "KES 100")),
                        new m.BodyParameter(new m.DateTime("tomorrow")),
                    ),
                    new m.PayloadComponent("pay"),
                    new m.CopyComponent("SAVE10"),
                ),
                {
                    type: "template",
                    template: {
                        name: "payment_due",
                        language,
                        components: [
                            {
                                type: "header",
                                parameters: [{ type: "image", image: { link: image.image.link } }],
                            },
                            {
                                type: "body",
                                parameters: [
                                    { type: "text", text: "Wanjiru" },
                                    {
                                        type: "currency",
                                        currency: {
                                            amount_1000: 100000,
                                            code: "KES",
                                            fallback_value: "KES 100",
                                        },
                                    },
                                    { type: "date_time", date_time: { fallback_value: "tomorrow" } },
                                ],
                            },
                            {
                                type: "button",
                                sub_type: "quick_reply",
                                index: 0,
                                parameters: [{ type: "payload", payload: "pay" }],
                            },
                            {
                                type: "button",
                                sub_type: "copy_code",
                                index: 1,
                                parameters: [{ type: "coupon_code", coupon_code: "SAVE10" }],
                            },
                        ],
                    },
                },
            ),
            interactive(
                "buttons",
                new m.ActionButtons(new m.Button("yes", "Yes"), new m.Button("no", "No")),
                messages.buttons,
                words("Take it?"),
                new m.Header("Loan"),
                new m.Footer("Bank"),
            ),
            interactive(
                "list",
                new m.ActionList(
                    "Branches",
                    new m.ListSection(
                        "Near you",
                        new m.Row("nyeri", "Nyeri", "Main street"),
                        new m.Row("karatina", "Karatina"),
                    ),
                ),
                messages.list,
                words("Which branch?"),
            ),
            interactive(
                "link button",
                new m.ActionCTA("Open", messages.link("statement")),
                messages.linkButton,
                words("Your statement"),
            ),
            interactive(
                "flow",
                new m.ActionNavigateFlow("token123", "1234567890", "Begin", "WELCOME", undefined, "draft"),
                messages.flow,
                words("Open an account"),
            ),
            interactive(
                "location request",
                new m.ActionLocation(),
                {
                    type: "interactive",
                    interactive: {
                        type: "location_request_message",
                        body: { text: "Where are you?" },
                        action: { name: "send_location" },
                    },
                },
                words("Where are you?"),
            ),
            interactive(
                "call permission",
                new m.ActionCallPermission(),
                {
                    type: "interactive",
                    interactive: {
                        type: "call_permission_request",
                        body: { text: "May we call?" },
                        action: { name: "call_permission_request" },
                    },
                },
                words("May we call?"),
            ),
            interactive(
                "contact request",
                new m.ActionContactRequest(),
                {
                    type: "interactive",
                    interactive: {
                        type: "request_contact_info",
                        body: { text: "Who are you?" },
                        action: { name: "request_contact_info" },
                    },
                },
                words("Who are you?"),
            ),
            interactive(
                "catalogue",
                new m.ActionCatalog({ product_retailer_id: "card-gold" }),
                messages.catalog,
                words("All that we have"),
            ),
            step("image", new m.Image(image.image.link, false, image.image.caption), image),
            step(
                "media by id",
                new m.Image(messages.mediaById.image.id, true, "By its id"),
                messages.mediaById,
            ),
            step("video", new m.Video(video.video.link, false, video.video.caption), video),
            step("audio", new m.Audio(audio.audio.link), audio),
            step("voice note", new m.Audio(audio.audio.link, false, true), {
                type: "audio",
                audio: { ...audio.audio, voice: true },
            }),
            step("document", new m.Document(document.document.link, false, "Terms", "terms.pdf"), document),
            step("sticker", new m.Sticker(sticker.sticker.link), sticker),
            step("location", new m.Location(place.longitude, place.latitude, place.name, place.address), {
                type: "location",
                location: place,
            }),
            step(
                "contacts",
                new m.Contacts([
                    new m.Name("Wanjiru Kamau", "Wanjiru"),
                    new m.Phone("+254 722 000111", "WORK", "254722000111"),
                    new m.Email("wanjiru@bank.example", "WORK"),
                    new m.Organization("Bank", undefined, "Teller"),
                ]),
                // It writes the array as a string.
                { type: "contacts", contacts: JSON.stringify(orderedAsItWrites(messages.contacts.contacts)) },
            ),
        ];
    }

    function unsupported() {
        const ask = (name, asked) => [name, async () => graphError(await asked())];
        const to = "254711000001";
        const media = "1479537139650973";
        const form = new FormData();
        form.set("file", new Blob(["picture"], { type: "image/png" }), "a.png");
        return [
            ask("upload", () => api.uploadMedia(number, form)),
            ask("media", () => api.retrieveMedia(media)),
            ask("media of a number", () => api.retrieveMedia(media, number)),
            ask("delete media", () => api.deleteMedia(media)),
            ask("block", () => api.blockUser(number, to)),
            ask("unblock", () => api.unblockUser(number, to)),
            ask("create QR code", () => api.createQR(number, "hello")),
            ask("QR codes", () => api.retrieveQR(number)),
            ask("QR code", () => api.retrieveQR(number, "ABC123")),
            ask("change QR code", () => api.updateQR(number, "ABC123", "hello")),
            ask("delete QR code", () => api.deleteQR(number, "ABC123")),
            ask("call", () => api.initiateCall(number, to, "v=0")),
            ask("pre-accept", () => api.preacceptCall(number, "wacid.1", "v=0")),
            ask("accept", () => api.acceptCall(number, "wacid.1", "v=0")),
            ask("reject", () => api.rejectCall(number, "wacid.1")),
            ask("terminate", () => api.terminateCall(number, "wacid.1")),
        ];
    }

    async function webhook({ method, url, headers, raw }) {
        try {
            if (method === "GET") {
                const query = new URL(url, "http://program").searchParams;
                return { status: 200, body: api.get(Object.fromEntries(query)) };
            }
            const text = raw.toString();
            await api.post(JSON.parse(text), text, headers["x-hub-signature-256"]);
            return { status: 200, body: "" };
        } catch (error) {
            if (!(error instanceof WhatsAppAPIError)) throw error;
            return { status: error.httpStatus, body: "" };
        }
    }

    return {
        webhook,
        sends,
        unsupported,
        textOf: (body) => ({ body }),
        text: (to, body) => send(to, new m.Text(body)),
        reply: (to, body, messageId) => send(to, new m.Text(body), messageId),
    };
});

/** Its string is compared as a string: the order of keys is its own. */
function orderedAsItWrites([{ name, phones, emails, org }]) {
    return [{ name, phones, emails, org }];
}
