// Copies the ticket. Without a script it can be selected.
const button = document.getElementById("copy"), ticket = document.getElementById("ticket");
button.hidden = false;
button.onclick = () => {
  ticket.parentElement.open = true;
  getSelection().selectAllChildren(ticket);
  if (document.execCommand("copy")) button.textContent = button.dataset.done;
};
