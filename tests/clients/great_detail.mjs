// SPDX-License-Identifier: Apache-2.0
// @great-detail/whatsapp: it sends what it is given, and knows how a webhook is registered and checked.
import { Client } from "@great-detail/whatsapp";
import assert from "node:assert/strict";

import { envelope, graphError, messages } from "./expected.mjs";
import { run } from "./story.mjs";

await run(({ api, token, number, secret, verify }, onMessage) => {
    const client = new Client({
        prefixUrl: api,
        request: { headers: { Authorization: `Bearer ${token}` } },
    });
    const send = async (to, message) => {
        const answer = await client.message.createMessage({ phoneNumberID: number, to, ...message }).json();
        assert.equal(answer.messaging_product, "whatsapp");
        assert.deepEqual(answer.contacts, [{ input: to, wa_id: to }]);
        return answer.messages[0].id;
    };
    const textOf = (body) => ({ body });
    const text = (body) => ({ type: "text", text: textOf(body) });

    function sends(to, messageId) {
        const step = (name, body) => [name, () => send(to, body), { ...envelope(to), ...body }];
        const mark = (name, more) => {
            const status = { status: "read", message_id: messageId, ...more };
            return [
                name,
                async () => {
                    const answer = client.message.createStatus({ phoneNumberID: number, ...status });
                    assert.deepEqual(await answer.json(), { success: true });
                },
                { messaging_product: "whatsapp", ...status },
            ];
        };
        return [
            mark("typing", { typing_indicator: { type: "text" } }),
            mark("read mark", {}),
            step("text", { ...text("Salio lako \u{1f4b0}"), biz_opaque_callback_data: "account 12345" }),
            step("reply", { ...text("A reply"), context: { message_id: messageId } }),
            step("reaction", {
                type: "reaction",
                reaction: { message_id: messageId, emoji: "\u2764\ufe0f" },
            }),
            step("reaction taken back", {
                type: "reaction",
                reaction: { message_id: messageId, emoji: "" },
            }),
            step("template", {
                type: "template",
                template: {
                    name: "test_1",
                    language: { code: "en_US" },
                    components: [
                        {
                            type: "body",
                            parameters: [
                                { type: "text", text: "Example" },
                                {
                                    type: "currency",
                                    currency: {
                                        fallback_value: "\u00a3100",
                                        code: "GBP",
                                        amount_1000: 100000,
                                    },
                                },
                                { type: "date_time", date_time: { fallback_value: "2026-01-01" } },
                            ],
                        },
                    ],
                },
            }),
            step("buttons", messages.buttons),
            step("list", messages.list),
            step("link button", messages.linkButton),
            step("flow", messages.flow),
            step("product", messages.product),
            step("product list", messages.productList),
            step("catalogue", messages.catalog),
            step("order", messages.orderDetails),
            step("media by id", messages.mediaById),
            ...messages.media.map((body) => step(body.type, body)),
            step("location", { type: "location", location: messages.place }),
            step("contacts", messages.contacts),
        ];
    }

    function unsupported() {
        const phoneNumberID = number;
        const account = "102310231023";
        const mediaID = "1479537139650973";
        const { media, businessProfile, phoneNumbers, subscribedApps, template } = client;
        const ask = (name, asked) => [
            name,
            () =>
                asked().then(
                    () => undefined,
                    async ({ response }) => graphError(await response.json()),
                ),
        ];
        return [
            ask("upload", () =>
                media.upload({
                    phoneNumberID,
                    file: new Blob(["picture"], { type: "image/png" }),
                    filename: "a.png",
                    mimeType: "image/png",
                }),
            ),
            ask("media", () => media.getURL({ mediaID })),
            ask("media of a number", () => media.getURL({ mediaID, phoneNumberID })),
            ask("delete media", () => media.delete({ mediaID, phoneNumberID })),
            ask("profile", () => businessProfile.getBusinessProfile({ phoneNumberID, fields: ["about"] })),
            ask("set profile", () => businessProfile.updateBusinessProfile({ phoneNumberID, about: "Bank" })),
            ask("number", () => phoneNumbers.getPhoneNumber({ phoneNumberID, fields: ["status"] })),
            ask("numbers", () => phoneNumbers.listPhoneNumbers({ businessAccountID: account })),
            ask("name", () => phoneNumbers.updatePhoneNumber({ phoneNumberID, new_display_name: "Bank" })),
            ask("subscribe", () => subscribedApps.createSubscription({ businessAccountID: account })),
            ask("subscriptions", () => subscribedApps.listSubscriptions({ businessAccountID: account })),
            ask("template", () => template.get("7", {})),
            ask("templates", () => template.list(account, { limit: 10 })),
            ask("library", () => template.listLibrary({ search: "otp" })),
            ask("create template", () => template.create(account, { name: "otp" })),
            ask("change template", () => template.update("7", { category: "UTILITY" })),
            ask("delete template", () => template.delete(account, { name: "otp" })),
            ask("account", () => client.whatsappBusinessAccount.get(account)),
        ];
    }

    async function webhook({ method, url, headers, raw }) {
        if (method === "GET") {
            const query = Object.fromEntries(new URL(url, api).searchParams);
            const registration = await client.webhook.register({ method, query, headers });
            if (registration.verifyToken !== verify) return { status: 403, body: "" };
            return { status: 200, body: registration.accept() };
        }
        const event = await client.webhook.eventNotification({
            method,
            query: {},
            headers,
            body: raw.toString(),
        });
        try {
            await event.verifySignature(secret);
        } catch (error) {
            if (!(error instanceof client.webhook.errors.InvalidHubSignatureWebhookError)) throw error;
            return { status: 401, body: "" };
        }
        for (const message of event.eventNotification.entry[0].changes[0].value.messages ?? [])
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
        unsupported,
        textOf,
        text: (to, body) => send(to, text(body)),
        reply: (to, body, messageId) => send(to, { ...text(body), context: { message_id: messageId } }),
    };
});
