// Posts what stands behind the link's `#`.
const token = location.hash.slice(1), form = document.forms[0];
if (token) { form.elements.token.value = token; form.submit(); }
