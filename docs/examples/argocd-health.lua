-- Health of a ConsentPipeline for Argo CD, by its conditions.
local health = { status = "Progressing", message = "The operator has not seen this version yet." }
if obj.status == nil or obj.status.observedGeneration ~= obj.metadata.generation then
  return health
end
for _, condition in ipairs(obj.status.conditions or {}) do
  if condition.type == "Stalled" and condition.status == "True" then
    return { status = "Degraded", message = condition.message }
  elseif condition.type == "Reconciling" and condition.status == "True" then
    health.message = condition.message
  elseif condition.type == "Ready" and condition.status == "True" then
    health = { status = "Healthy", message = condition.message }
  end
end
if obj.spec.suspend and health.status ~= "Healthy" then
  return { status = "Suspended", message = health.message }
end
return health
