// SPDX-License-Identifier: Apache-2.0
// Bodies that more than one client sends, as they must reach the phone.

const link = (name) => `https://files.bank.example/${name}`;

export const envelope = (to) => ({ messaging_product: "whatsapp", recipient_type: "individual", to });

export const messages = {
    link,
    place: { latitude: -0.4201, longitude: 36.9476, name: "Nyeri branch", address: "Kimathi Way" },
    buttons: {
        type: "interactive",
        interactive: {
            type: "button",
            header: { type: "text", text: "Loan" },
            body: { text: "Take it?" },
            footer: { text: "Bank" },
            action: {
                buttons: [
                    { type: "reply", reply: { id: "yes", title: "Yes" } },
                    { type: "reply", reply: { id: "no", title: "No" } },
                ],
            },
        },
    },
    list: {
        type: "interactive",
        interactive: {
            type: "list",
            body: { text: "Which branch?" },
            action: {
                button: "Branches",
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
        },
    },
    linkButton: {
        type: "interactive",
        interactive: {
            type: "cta_url",
            body: { text: "Your statement" },
            action: { name: "cta_url", parameters: { display_text: "Open", url: link("statement") } },
        },
    },
    media: [
        {
            type: "image",
            image: { link: link("map.png"), caption: "The way \u2014 \u062e\u0631\u064a\u0637\u0629" },
        },
        { type: "video", video: { link: link("tour.mp4"), caption: "A tour" } },
        { type: "audio", audio: { link: link("greeting.ogg") } },
        {
            type: "document",
            document: { link: link("terms.pdf"), caption: "Terms", filename: "terms.pdf" },
        },
        { type: "sticker", sticker: { link: link("thanks.webp") } },
    ],
    contacts: {
        type: "contacts",
        contacts: [
            {
                name: { formatted_name: "Wanjiru Kamau", first_name: "Wanjiru" },
                phones: [{ phone: "+254 722 000111", type: "WORK", wa_id: "254722000111" }],
                emails: [{ email: "wanjiru@bank.example", type: "WORK" }],
                org: { company: "Bank", title: "Teller" },
            },
        ],
    },
    flow: {
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
    product: {
        type: "interactive",
        interactive: { type: "product", action: { catalog_id: "77", product_retailer_id: "card-gold" } },
    },
    productList: {
        type: "interactive",
        interactive: {
            type: "product_list",
            header: { type: "text", text: "Cards" },
            body: { text: "Which one?" },
            action: {
                catalog_id: "77",
                sections: [
                    { title: "Credit", product_items: [{ product_retailer_id: "card-gold" }] },
                    { title: "Debit", product_items: [{ product_retailer_id: "card-blue" }] },
                ],
            },
        },
    },
    catalog: {
        type: "interactive",
        interactive: {
            type: "catalog_message",
            body: { text: "All that we have" },
            action: {
                name: "catalog_message",
                parameters: { thumbnail_product_retailer_id: "card-gold" },
            },
        },
    },
    mediaById: { type: "image", image: { id: "1479537139650973", caption: "By its id" } },
    orderDetails: {
        type: "interactive",
        interactive: {
            type: "order_details",
            body: { text: "Your order" },
            action: {
                name: "review_and_pay",
                parameters: {
                    reference_id: "ref-1",
                    type: "digital-goods",
                    currency: "INR",
                    total_amount: { value: 21000, offset: 100 },
                    order: { status: "pending", items: [] },
                },
            },
        },
    },
};

/** What a client says of an answer that is an error of Graph's. */
export const graphError = ({ error }) => ({ code: error.code, details: error.error_data.details });
