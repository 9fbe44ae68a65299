output "deployment" {
  description = "What this state describes, and which archive runs."
  value       = module.unstick.deployment
}

output "grafana" {
  description = "What to enter in Grafana's contact point (docs/grafana.md)."
  value       = module.unstick.grafana
}

output "secrets" {
  description = "One command for each secret, to give it a new value."
  value       = module.unstick.secrets
}

output "public_url" {
  description = "The webhook's address as the configuration has it: for Grafana and approval links."
  value       = module.unstick.public_url
}

output "next_steps" {
  description = "What to do after the first deployment."
  value       = module.unstick.next_steps
}
