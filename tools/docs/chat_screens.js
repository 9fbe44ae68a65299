// Draws what Slack and Google Chat get, block by block; what it does not know fails, so that no picture leaves anything out.
const node = (tag, style, ...inside) => {
  const made = document.createElement(tag);
  made.style.cssText = style;
  made.append(...inside);
  return made;
};
const unescaped = text => text.replace(/&lt;/g, "<").replace(/&gt;/g, ">").replace(/&amp;/g, "&");
const mrkdwn = text =>
  text.split(/(```[^`]+```|<[^<>|]+\|[^<>]+>|<[!@][^>]+>|\*[^*\n]+\*|`[^`\n]+`|\n)/).map(part => {
    if (part === "\n") return node("br", "");
    if (part.startsWith("```")) return node("pre", LOG, unescaped(part.slice(3, -3).trim()));
    if (/^<[!@]/.test(part)) return node("span", "background:#fff3c9;color:#1264a3", "@" + part.slice(2, -1));
    if (/^<.+\|/.test(part)) return node("a", "color:#1264a3;text-decoration:none", unescaped(part.slice(1, -1).split("|")[1]));
    if (/^\*/.test(part)) return node("b", "", unescaped(part.slice(1, -1)));
    if (/^`/.test(part)) return node("code", "background:#f4f4f4;border:1px solid #ddd;border-radius:3px;padding:0 3px;color:#c01343", unescaped(part.slice(1, -1)));
    return unescaped(part);
  });
const LOG = "background:#f8f8f8;border:1px solid #ddd;border-radius:4px;padding:8px;font-size:12px;white-space:pre-wrap;margin:4px 0";
const words = text => (text.type === "mrkdwn" ? mrkdwn(text.text) : [text.text]);
const BUTTON = "display:inline-block;border:1px solid #bbb;border-radius:4px;padding:5px 12px;margin:4px 6px 4px 0;font-weight:700;font-size:13px";
const slackBlock = block => {
  switch (block.type) {
    case "header": return node("div", "font-size:18px;font-weight:900;margin:4px 0 8px", ...words(block.text));
    case "divider": return node("hr", "border:0;border-top:1px solid #ddd");
    case "context": return node("div", "color:#616061;font-size:12px", ...block.elements.flatMap(words));
    case "rich_text": return node("pre", LOG,
      block.elements.flatMap(one => one.elements).map(one => one.text).join(""));
    case "actions": return node("div", "", ...block.elements.map(one =>
      node("span", BUTTON + ({primary: ";background:#007a5a;color:#fff", danger: ";color:#e01e5a;border-color:#e01e5a"}[one.style] || ""), ...words(one.text))));
    case "section": return block.fields
      ? node("div", "display:grid;grid-template-columns:minmax(0,1fr) minmax(0,1fr);gap:8px 16px;margin:8px 0", ...block.fields.map(one => node("div", "white-space:pre-wrap;overflow-wrap:anywhere", ...words(one))))
      : node("div", "margin:6px 0;white-space:pre-wrap", ...words(block.text));
    default: throw new Error("no drawing for a block of type " + block.type);
  }
};
const slack = message => node("div", "font:15px/1.46 Lato,'Noto Sans',system-ui,sans-serif;color:#1d1c1d;padding:14px;display:flex;gap:8px",
  node("div", "flex:none;width:36px;height:36px;border-radius:6px;background:#4a154b;color:#fff;text-align:center;line-height:36px;font-weight:700", "U"),
  node("div", "", node("div", "font-weight:900", "Unstick"), ...message.blocks.map(slackBlock)));
const chatText = text => {
  const made = node("div", "white-space:pre-wrap");
  made.append(...text.split(/(<b>.*?<\/b>)/).map(part => (part.startsWith("<b>") ? node("b", "", unescaped(part.slice(3, -4))) : unescaped(part))));
  return made;
};
const chatWidget = widget => {
  const [[kind, it]] = Object.entries(widget);
  switch (kind) {
    case "textParagraph": return node("div", "margin:8px 0", chatText(it.text));
    case "decoratedText": return node("div", "margin:10px 0", node("div", "color:#5f6368;font-size:12px", it.topLabel || ""), chatText(it.text));
    case "buttonList": return node("div", "", ...it.buttons.map(one => node("span",
      "display:inline-block;border-radius:18px;background:#e8f0fe;color:#1967d2;padding:7px 16px;margin:4px 8px 4px 0;font-weight:500", one.text)));
    default: throw new Error("no drawing for a widget of kind " + kind);
  }
};
const google_chat = message => {
  const {header, sections} = message.cardsV2[0].card;
  return node("div", "font:14px/1.45 Roboto,'Noto Sans',system-ui,sans-serif;color:#202124;padding:14px",
    ...(message.text ? [node("div", "margin:0 0 8px", message.text.replace(/<users\/(\w+)>/g, "@$1"))] : []),
    node("div", "border:1px solid #dadce0;border-radius:12px;padding:14px",
      node("div", "font-size:16px;font-weight:500", header.title), node("div", "color:#5f6368", header.subtitle || ""),
      ...sections.map(section => node("div", "border-top:1px solid #e0e0e0;margin-top:10px", node("div", "color:#5f6368;font-weight:500;margin-top:8px", section.header || ""), ...section.widgets.map(chatWidget)))));
};
